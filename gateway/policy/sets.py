"""Named sets of values: inline under `sets:`, or one file each with source and review date."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from .names import is_name
from .operators import MAX_TEXT, NamedSet
from .schema import MAX_SET_VALUES, MAX_SETS, RawSetFile, validated
from .source import Place, Report, SourceFile, shown


@dataclass(frozen=True, slots=True)
class SetFile:
    """`sets/<name>.yaml`. A shared one lies beside the policy's folder, for all policies."""

    name: str
    file: SourceFile
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Sets:
    """The usable sets by name, and where the policy's own ones stand."""

    values: dict[str, NamedSet] = field(default_factory=dict)
    own: dict[str, Place] = field(default_factory=dict)

    def warn_unused(self, used: set[str], report: Report) -> None:
        for name, place in self.own.items():
            if name not in used and name in self.values:
                report.warn(place, "no rule or limit uses this set")


def compile_sets(
    files: tuple[SourceFile, ...], set_files: tuple[SetFile, ...], report: Report
) -> Sets:
    """All sets that a policy may name; a name stands for one set only."""
    sets = Sets()
    taken: dict[str, Place] = {}
    for file in files:
        inline = file.data.get("sets") if isinstance(file.data, dict) else None
        place = Place(file) / "sets"
        if inline is not None and not isinstance(inline, dict):
            report.error(place, f"must be a table from name to list, not {shown(inline)}")
            continue
        for name, values in (inline or {}).items():
            sets.own.setdefault(name, place / name)
            _add(name, values, place / name, place / name, sets, taken, report)
    for set_file in set_files:
        place = Place(set_file.file)
        if not set_file.is_shared:
            sets.own.setdefault(set_file.name, place)
        values = _file_values(set_file.file, report)
        if values is not None:
            _add(set_file.name, values, place / "values", place, sets, taken, report)
    return sets


def _file_values(file: SourceFile, report: Report) -> Any:
    raw = validated(RawSetFile, file.data, Place(file), report)
    if raw is None:
        return None
    for name, text in (("reviewed", raw.reviewed), ("review_by", raw.review_by)):
        try:
            due = None if text is None else date.fromisoformat(text)
        except ValueError:
            report.error(Place(file) / name, f"{shown(text)} is no date")
            continue
        if name == "review_by" and due is not None:
            report.note_due(
                Place(file) / name, due, f"is past: {raw.owner} should review this set again"
            )
    return raw.values


def _add(
    name: str,
    values: Any,
    place: Place,
    named_at: Place,
    sets: Sets,
    taken: dict[str, Place],
    report: Report,
) -> None:
    if name in taken:
        report.error(named_at, f"set {name} is defined already in {taken[name]}")
        return
    taken[name] = named_at
    if not is_name(name, named_at, report):
        return
    if len(taken) > MAX_SETS:
        report.error(named_at, f"over {MAX_SETS} sets")
        return
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_SET_VALUES:
        report.error(place, f"must be a list of 1 to {MAX_SET_VALUES} values")
        return
    members = _members(values, place, report)
    if members is not None:
        sets.values[name] = NamedSet(name, members, type(values[0]))


def _members(values: list[Any], place: Place, report: Report) -> frozenset[Any] | None:
    kind = type(values[0])
    seen: set[Any] = set()
    is_usable = True
    for index, value in enumerate(values):
        message = _fault(value, kind, seen)
        if message is not None:
            report.error(place / index, message)
            is_usable = False
        else:
            seen.add(value)
    return frozenset(seen) if is_usable else None


def _fault(value: Any, kind: type, seen: set[Any]) -> str | None:
    if not isinstance(value, str | int) or isinstance(value, bool):
        return f"must be text or a whole number, not {shown(value)}"
    if type(value) is not kind:
        return f"{shown(value)} is not of the same kind as the first value"
    if value in seen:
        return f"{shown(value)} comes twice"
    if isinstance(value, str) and not 1 <= len(value) <= MAX_TEXT:
        return f"must be text of 1 to {MAX_TEXT} characters"
    return None
