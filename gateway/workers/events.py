"""Account events on the way of a replay (CONTRACTS §4): created, changed, verified, banned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import Problem
from ..model import SECOND_US, Grant, Level, Status, Subject
from .accounts import AccountChange, ImportReport, RecordError, RecordReader, read_records

KINDS = frozenset({"created", "changed", "verified", "banned"})


@dataclass(frozen=True, slots=True)
class AccountEvent:
    ts_us: int
    account_id: str
    kind: str
    change: AccountChange
    level: Level | None = None

    def apply(self, subject: Subject) -> Subject:
        if self.kind == "banned":
            return replace(subject, status=Status.BANNED)
        if self.kind == "verified" and self.level is not None:
            grant = Grant(self.level, self.ts_us)
            return replace(subject, grants=(*subject.grants, grant))
        return self.change.apply(subject)


def read_events(path: Path, reader: RecordReader, report: ImportReport) -> Iterator[AccountEvent]:
    """Events in order of time; a bad line is reported and skipped."""
    events = []
    for number, record in read_records(path):
        try:
            events.append(_event(record, reader))
        except RecordError as error:
            report.add(Problem(str(path), number, "", str(error)))
    yield from sorted(events, key=lambda event: event.ts_us)


def _event(record: object, reader: RecordReader) -> AccountEvent:
    if not isinstance(record, dict):
        raise RecordError("an event is a JSON object")
    kind = record.get("event")
    if kind not in KINDS:
        raise RecordError(f"event: one of {', '.join(sorted(KINDS))}")
    ts = record.get("ts")
    if isinstance(ts, bool) or not isinstance(ts, int | float) or not 0 <= ts < 1e11:
        raise RecordError("ts: Unix seconds UTC")
    change = reader.read(_without_event(record))
    return AccountEvent(
        int(ts * SECOND_US), change.account_id, str(kind), change, _level(record, str(kind))
    )


def _without_event(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("ts", "event", "level")}


def _level(record: dict[str, Any], kind: str) -> Level | None:
    if kind != "verified":
        return None
    try:
        return Level[str(record.get("level", "")).upper()]
    except KeyError:
        known = ", ".join(level.name.lower() for level in Level)
        raise RecordError(f"level: what was verified, one of {known}") from None
