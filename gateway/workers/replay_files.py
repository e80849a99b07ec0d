"""`hydragate replay`: files in, decisions, clusters and a summary out."""

from __future__ import annotations

import gzip
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import IO, Any

import orjson

from ..core.keyed import KeyedHash
from ..engine import PolicySource
from ..errors import Problem
from .accounts import ImportReport, RecordError, RecordReader, read_records
from .events import AccountEvent, read_events
from .replay import REPLAY_SECRET, Replay, StoreAndDirectory, decision_line
from .traffic import ReadReport, read_traffic

PROGRESS_EVERY = 2_000
BAD_LINE: dict[str, Any] = {
    "ts": None,
    "account_id": None,
    "verdict": None,
    "would_be": None,
    "served": False,
    "reason": "bad_line",
    "findings": [],
    "cluster_id": None,
    "suspicion": None,
    "degraded": False,
}


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What `hydragate replay` reports; `is_unusable` ends it with exit code 1."""

    summary: dict[str, Any]
    problems: list[Problem]
    is_unusable: bool


async def replay_files(
    *,
    traffic: Path,
    accounts: Path,
    out: Path,
    store: StoreAndDirectory,
    policies: PolicySource,
    events: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ReplayResult:
    """Replay `traffic` and write `decisions.jsonl.gz`, `clusters.jsonl` and `summary.json`
    into the existing folder `out`.

    Raises UsageError when a file cannot be opened.
    """
    started = perf_counter()
    replay = Replay(store, policies)
    imports, reads = ImportReport(), ReadReport()
    reader = RecordReader(KeyedHash(REPLAY_SECRET))
    await _add_accounts(accounts, reader, replay, imports)
    happenings = iter(()) if events is None else read_events(events, reader, imports)
    with (out / "decisions.jsonl.gz").open("wb") as file, _gzip(file) as lines:
        await _run(traffic, reads, happenings, replay, lines, on_progress)
    await replay.drain()
    replay.summary.wall_s = perf_counter() - started
    summary = replay.summary.as_json(peak_memory_bytes())
    summary["policy"] = {"name": policies.current.name, "revision": policies.current.revision}
    summary["lines"] = {"read": reads.lines, "bad": reads.bad, "out_of_order": reads.out_of_order}
    summary["accounts"] = {"imported": imports.imported, "bad": imports.bad}
    (out / "clusters.jsonl").write_bytes(b"")  # until linking publishes some
    (out / "summary.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2) + b"\n")
    return ReplayResult(summary, imports.problems + reads.problems, reads.is_unusable)


async def _add_accounts(
    path: Path, reader: RecordReader, replay: Replay, report: ImportReport
) -> None:
    for number, record in read_records(path):
        try:
            change = reader.read(record)
        except RecordError as error:
            report.add(Problem(str(path), number, "", str(error)))
            continue
        key_ids = record.get("key_ids") if isinstance(record, dict) else None
        await replay.add_account(change, tuple(map(str, key_ids or ())))
        report.imported += 1


async def _run(
    traffic: Path,
    reads: ReadReport,
    happenings: Iterator[AccountEvent],
    replay: Replay,
    lines: gzip.GzipFile,
    on_progress: Callable[[int], None] | None,
) -> None:
    event = next(happenings, None)
    for number, request in enumerate(read_traffic(traffic, reads), 1):
        if request is None:
            lines.write(orjson.dumps(BAD_LINE) + b"\n")
            continue
        while event is not None and event.ts_us <= request.ts * 1_000_000:
            await replay.apply_event(event)
            event = next(happenings, None)
        decision = await replay.decide(number, request)
        lines.write(orjson.dumps(decision_line(request, decision)) + b"\n")
        if on_progress is not None and number % PROGRESS_EVERY == 0:
            on_progress(number)
    for late in chain(() if event is None else (event,), happenings):
        await replay.apply_event(late)


def _gzip(file: IO[bytes]) -> gzip.GzipFile:
    """Without name and time in its header, so that equal replays are equal to the byte."""
    return gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=3, mtime=0)


def peak_memory_bytes() -> int:
    """Peak resident memory of this process; the unit of ru_maxrss differs between systems."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
