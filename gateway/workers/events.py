"""Account events on the way of a replay (CONTRACTS §4): created, changed, verified, banned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from ..errors import Problem
from ..model import Grant, Level, Subject, with_changes
from .account_changes import AccountChange, banned
from .account_import import ImportReport
from .account_records import RecordError, RecordReader
from .traffic import instant_us

OWN_FIELDS = frozenset({"ts", "event", "level", "expires_at"})
KINDS = frozenset({"created", "changed", "verified", "banned"})


@dataclass(frozen=True, slots=True)
class AccountEvent:
    ts_us: int
    account_id: str
    kind: str
    change: AccountChange
    level: Level | None = None
    expires_us: int | None = None

    def apply(self, subject: Subject) -> Subject:
        if self.kind == "banned":
            return banned(subject)
        if self.kind == "verified" and self.level is not None:
            grant = Grant(self.level, self.ts_us, self.expires_us)
            return with_changes(subject, grants=(*subject.grants, grant), asked_us=None)
        return self.change.apply(subject)


def read_events(
    name: str, lines: Iterable[bytes], reader: RecordReader, report: ImportReport
) -> list[AccountEvent]:
    """Events in order of time, equal instants in order of lines; a bad line is reported under
    `name` and skipped."""
    events = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(read_event(parse_record(line), reader))
        except RecordError as error:
            report.add(Problem(name, number, "", str(error)))
    return sorted(events, key=lambda event: event.ts_us)


def parse_record(line: bytes) -> object:
    """One JSON value. Raises RecordError."""
    try:
        record: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RecordError(f"no JSON: {error}") from None
    return record


def read_event(record: object, reader: RecordReader) -> AccountEvent:
    """One event as a line has it. Raises RecordError."""
    if not isinstance(record, dict):
        raise RecordError("an event is a JSON object")
    kind = record.get("event")
    if kind not in KINDS:
        raise RecordError(f"event: one of {', '.join(sorted(KINDS))}")
    change = reader.read({name: record[name] for name in record if name not in OWN_FIELDS})
    return AccountEvent(
        _instant_us(record, "ts"),
        change.account_id,
        str(kind),
        change,
        _level(record, str(kind)),
        None if record.get("expires_at") is None else _instant_us(record, "expires_at"),
    )


def _instant_us(record: dict[str, Any], name: str) -> int:
    ts = record.get(name)
    if isinstance(ts, bool) or not isinstance(ts, int | float) or not 0 <= ts < 1e11:
        raise RecordError(f"{name}: Unix seconds UTC")
    return instant_us(ts)


def _level(record: dict[str, Any], kind: str) -> Level | None:
    if kind != "verified":
        return None
    try:
        return Level[str(record.get("level", "")).upper()]
    except KeyError:
        known = ", ".join(level.name.lower() for level in Level)
        raise RecordError(f"level: what was verified, one of {known}") from None
