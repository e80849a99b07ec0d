"""Answers into the files that the report reads: decisions, latency and a summary.

What HTTP shows of a decision: the status, and for refusals the decision's id, by which the
gateway's log adds the rule. Shadow is not seen from outside: `would_be` repeats the verdict.
"""

from __future__ import annotations

import gzip
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ...observe.log_reader import log_files, read_lines
from ..driver import LoadResult
from .driver import Answered
from .window import Window

NO_ANSWER = "no_answer"
LOG_PAUSES_S = (0.5, 1.0, 3.0)


def verdict_of(answer: Answered) -> str:
    """The gateway's verdict. An error of the model API behind it is an allowed request."""
    if answer.decision is None:
        return "deny" if answer.status in (400, 401, 413, 431) else "allow"
    if answer.status == 429:
        return "throttle"
    return "verify" if answer.asks_to_verify else "deny"


def decision_line(answer: Answered, window: Window, reasons: Mapping[str, str]) -> dict[str, Any]:
    """A line of `decisions.jsonl.gz`; one without an answer is a bad line, and counted so."""
    if answer.error is not None:
        return {
            **dict.fromkeys(("ts", "account_id", "verdict", "would_be")),
            "served": False,
            "reason": NO_ANSWER,
            "findings": [],
        }
    verdict = verdict_of(answer)
    reason = "ok" if verdict == "allow" else f"http_{answer.status}"
    if answer.decision is not None:
        reason = reasons.get(answer.decision, reason)
    return {
        "ts": window.start_s + answer.due_s * window.compression,
        "account_id": answer.account_id,
        "verdict": verdict,
        "would_be": verdict,
        "served": verdict == "allow",
        "reason": reason,
        "findings": [],
    }


def reasons_in_log(folder: Path, wanted: frozenset[str]) -> dict[str, str]:
    """decision id → deciding rule, of those wanted, from the gateway's own log.

    The log is written a little behind the answers: looks again for what is missing, three times.
    """
    found = _reasons(folder, wanted)
    for pause_s in LOG_PAUSES_S:
        if len(found) == len(wanted):
            break
        time.sleep(pause_s)
        found = _reasons(folder, wanted)
    return found


def _reasons(folder: Path, wanted: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if not wanted:
        return found
    for file in log_files(folder):
        for line in read_lines(file):
            record = orjson.loads(line)
            if record.get("id") in wanted:
                found[record["id"]] = str(record.get("reason"))
    return found


def write_results(
    answers: Sequence[Answered],
    out: Path,
    *,
    window: Window,
    load: LoadResult,
    reasons: Mapping[str, str],
    policy: Mapping[str, str],
) -> dict[str, Any]:
    """`decisions.jsonl.gz`, `latency.json` and `summary.json` into `out`; returns the summary."""
    verdicts: Counter[str] = Counter()
    with gzip.open(out / "decisions.jsonl.gz", "wb", 6) as file:
        for record in _lines(answers, window, reasons):
            verdicts[record["verdict"] or NO_ANSWER] += 1
            file.write(orjson.dumps(record) + b"\n")
    summary = {
        "policy": dict(policy),
        "exchanges": sum(verdicts.values()) - verdicts[NO_ANSWER],
        "by_verdict": dict(sorted(verdicts.items())),
        "wall_s": round(load.wall_s, 3),
        # One decision id for `hydragate explain`; None where nothing was refused.
        "a_refusal": next((a.decision for a in answers if a.decision is not None), None),
    }
    latency = {
        "seconds": window.seconds,
        "wanted_per_s": round(load.sent / window.seconds, 1),
        "compression": window.compression,
        "load": load.as_json(),
    }
    for name, content in (("latency.json", latency), ("summary.json", summary)):
        (out / name).write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    return summary


def _lines(
    answers: Iterable[Answered], window: Window, reasons: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    for answer in answers:
        yield decision_line(answer, window, reasons)
