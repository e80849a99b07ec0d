"""`hydragate replay --decisions`: a decision log in, decisions and what differs out.

A folder holds one row of files a worker, each in order of the ends of its exchanges. The rows are
merged by these, and a window puts the requests into the order of their arrival; an exchange that
lasted longer than the window is counted at the instant that has been reached.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import orjson

from ..model import SECOND_US, Decision, Policy, Verdict
from ..observe.log_reader import files_by_worker, read_lines
from .decision_lines import DecisionLines, DecisionWriter
from .logged_decisions import LoggedDecision, LogReplay, Redecided, is_same
from .reorder import ReorderWindow
from .replay_files import PROGRESS_EVERY, ReplayResult
from .replay_summary import ReplaySummary, peak_memory_bytes
from .traffic import ReadReport

WINDOW_US = 900 * SECOND_US  # of arrival, behind the end of the exchange: a long answer
MAX_EXAMPLES = 20


@dataclass(slots=True)
class Comparison:
    """The second decisions beside the first. `examples` are the first of each kind of change."""

    how: Counter[str] = field(default_factory=Counter)
    revisions: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    inexact: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, line: LoggedDecision, found: Redecided) -> None:
        self.how[found.how] += 1
        self.revisions[line.policy] += 1
        if is_same(line, found.decision):
            self.changes["same"] += 1
            return
        self.inexact += found.how == "exact"
        kind = _kind(line, found.decision)
        self.changes[kind] += 1
        if self.changes[kind] <= MAX_EXAMPLES:
            self.examples.append(_example(line, found.decision, kind))

    def as_json(self) -> dict[str, Any]:
        return {
            "how": dict(sorted(self.how.items())),
            "policy_revisions": dict(sorted(self.revisions.items())),
            "changes": dict(sorted(self.changes.items())),
            "exact_but_different": self.inexact,
            "examples": self.examples,
        }


def _kind(line: LoggedDecision, decision: Decision) -> str:
    if line.verdict == "allow" and decision.verdict is not Verdict.ALLOW:
        return "newly_refused"
    if line.verdict != "allow" and decision.verdict is Verdict.ALLOW:
        return "no_longer_refused"
    return "other_verdict" if line.verdict != decision.verdict.text else "other_findings"


def _example(line: LoggedDecision, decision: Decision, kind: str) -> dict[str, Any]:
    return {
        "id": line.id,
        "account": line.account,
        "kind": kind,
        "was": {"verdict": line.verdict, "reason": line.reason, "policy": line.policy},
        "is": {"verdict": decision.verdict.text, "reason": decision.reason},
    }


async def replay_log(
    source: Path,
    out: Path,
    policy: Policy,
    *,
    recount_all: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ReplayResult:
    """Decide every line of a log file or folder again; writes as `replay_files` does, with
    accounts by their pseudonyms. Unusable when over 1 % of the lines are bad, or when one line
    of this very policy came out differently.

    Raises UsageError where there is no log.
    """
    started = perf_counter()
    report, comparison, summary = ReadReport(), Comparison(), ReplaySummary()
    again, encode = LogReplay(policy, recount_all=recount_all), DecisionLines().encode
    writer = DecisionWriter(out / "decisions.jsonl.gz")
    try:
        for number, line in enumerate(_in_order(source, report), 1):
            try:
                found = await again.decide(line)
            except (msgspec.MsgspecError, KeyError, ValueError, TypeError) as error:
                report.complain(str(source), 0, f"decision {line.id}: {error}")
                continue
            comparison.add(line, found)
            summary.count(line.account, found.decision)
            writer.add(
                writer.next_line, encode(line.ts_us / SECOND_US, line.account, found.decision)
            )
            if on_progress is not None and number % PROGRESS_EVERY == 0:
                on_progress(number)
    finally:
        writer.close(is_complete=True)
    summary.wall_s = perf_counter() - started
    told = summary.as_json(peak_memory_bytes()) | {
        "policy": {"name": policy.name, "revision": policy.revision},
        "lines": {"read": report.lines, "bad": report.bad},
        "comparison": comparison.as_json(),
    }
    (out / "clusters.jsonl").write_bytes(b"")
    text = orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    (out / "summary.json").write_bytes(text)
    return ReplayResult(told, report.problems, report.is_unusable or comparison.inexact > 0)


def _in_order(source: Path, report: ReadReport) -> Iterator[LoggedDecision]:
    rows = [_row(files, report) for files in files_by_worker(source)]
    window = ReorderWindow[LoggedDecision](WINDOW_US)
    merged = heapq.merge(*rows, key=lambda line: line.finished_us)
    for number, line in enumerate(merged):
        yield from window.add(line.ts_us, number, line)
    yield from window.drain()


def _row(files: list[Path], report: ReadReport) -> Iterator[LoggedDecision]:
    decode = msgspec.json.Decoder(LoggedDecision).decode
    for path in files:
        told = partial(report.complain_of_cut, str(path), 0)
        for number, raw in enumerate(read_lines(path, told), 1):
            report.lines += 1
            try:
                yield decode(raw)
            except (msgspec.MsgspecError, RecursionError) as error:
                report.complain(str(path), number, str(error))
