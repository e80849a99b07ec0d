"""Parsed files to one `model.Policy`, with every finding on the way.

Law: the same sources give the same policy, whatever the order of rules and files says; nothing
here reads a clock, a file or the environment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from ..model import Limit, Mode, OnStoreError, Policy, Rule, SignalSpec
from .conditions import ConditionCompiler
from .free_keys import WrittenLimit, warn_of_free_keys
from .limits import LimitCompiler, LimitDefaults
from .names import NameBook, is_name
from .operators import NamedSet, Vocabulary
from .routes import compile_routes
from .rules import RuleCompiler
from .schema import (
    MAX_LIMITS,
    MAX_RULES,
    RawHead,
    RawLimit,
    RawPolicy,
    RawRoutes,
    RawRule,
    validated,
)
from .sets import SetFile, compile_sets
from .source import Place, Report, SourceFile, shown
from .vocabulary import choices

_REQUIRED = {"version": "version: 1", "mode": "mode: enforce, or mode: shadow to watch first"}


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that a policy is made of: its files in the order of their names, and sets."""

    name: str  # for a policy that does not name itself
    files: tuple[SourceFile, ...]
    sets: tuple[SetFile, ...] = ()


def compile_policy(
    sources: Sources, signals: Mapping[str, SignalSpec], report: Report
) -> Policy | None:
    """The policy; None when `report` has errors."""
    head, place = _merged_head(sources.files, report)
    for key, example in _REQUIRED.items():
        if not any(isinstance(file.data, dict) and key in file.data for file in sources.files):
            report.error(place / key, f"is required: {example}")
    sets = compile_sets(sources.files, sources.sets, report)
    raw_routes, routes_place = _routes_of(sources.files, head, place)
    routes = compile_routes(raw_routes, routes_place, report)
    vocabulary = Vocabulary(sets.values, choices(routes, head.tiers))
    conditions = ConditionCompiler(signals, vocabulary, report)
    names = NameBook(report)
    mode = Mode(head.mode or Mode.SHADOW)
    on_store_error = OnStoreError(head.on_store_error or OnStoreError.DENY)
    rules = _rules(sources.files, RuleCompiler(conditions, report, mode), names, report)
    limits = _limits(
        sources.files,
        LimitCompiler(conditions, vocabulary, report, LimitDefaults(mode, on_store_error)),
        names,
        report,
        signals,
    )
    sets.warn_unused(vocabulary.used_sets, report)
    if report.has_errors:
        return None
    return Policy(
        name=head.name or sources.name,
        revision=_revision(sources, sets.values, vocabulary.used_sets),
        signals=tuple([signals[name] for name in conditions.used]),
        rules=rules,
        limits=limits,
        routes=routes,
        adopts_unknown=head.unknown_credentials == "adopt",
        on_store_error=on_store_error,
        appeal=head.appeal,
        region_sets={name: sets.values[name].values for name in sorted(vocabulary.region_sets)},
    )


# ── what is said once ────────────────────────────────────────────────────────────────────────


def _merged_head(files: tuple[SourceFile, ...], report: Report) -> tuple[RawHead, Place]:
    """The heads of all files as one; `version` may stand in each of them."""
    merged: dict[str, Any] = {}
    first: dict[str, Place] = {}
    for file in files:
        for key, value, place in _head_entries(file, report):
            if key in first and key != "version":
                report.error(place, f"is said already in {first[key]}")
                continue
            if validated(RawPolicy, {key: value}, Place(file), report) is not None:
                merged[key] = value
                first.setdefault(key, place)
    head = RawHead.model_validate(merged)
    if head.name is not None:
        is_name(head.name, first["name"], report)
    if head.appeal is not None and not head.appeal.isprintable():
        report.error(first["appeal"], "must be printable text in one line")
    return head, Place(files[0])


def _head_entries(file: SourceFile, report: Report) -> Iterator[tuple[str, Any, Place]]:
    if not isinstance(file.data, dict):
        report.error(Place(file), f"must be a table, not {shown(file.data)}")
        return
    for key, value in file.data.items():
        if key in RawHead.model_fields or key not in RawPolicy.model_fields:
            yield key, value, Place(file) / key


def _routes_of(
    files: tuple[SourceFile, ...], head: RawHead, place: Place
) -> tuple[RawRoutes, Place]:
    for file in files:
        if isinstance(file.data, dict) and "routes" in file.data:
            place = Place(file) / "routes"
            break
    return head.routes or RawRoutes(), place


# ── rules and limits ─────────────────────────────────────────────────────────────────────────


def _rules(
    files: tuple[SourceFile, ...], compiler: RuleCompiler, names: NameBook, report: Report
) -> tuple[Rule, ...]:
    rules = []
    for data, place in _entries(files, "rules", MAX_RULES, report):
        raw = validated(RawRule, data, place, report)
        if raw is None:
            compiler.check_when(data, place)
            continue
        names.take(raw.name, place)
        rules.append(compiler.compile(raw, place))
    return tuple([rule for rule in rules if rule is not None])


def _limits(
    files: tuple[SourceFile, ...],
    compiler: LimitCompiler,
    names: NameBook,
    report: Report,
    all_signals: Mapping[str, SignalSpec],
) -> tuple[Limit, ...]:
    written = []
    for data, place in _entries(files, "limits", MAX_LIMITS, report):
        raw = validated(RawLimit, data, place, report)
        if raw is not None:
            names.take(raw.name, place)
            limit = compiler.compile(raw, place)
            if limit is not None:
                written.append(WrittenLimit(raw, limit, place))
    warn_of_free_keys(written, all_signals, report)
    return tuple([one.limit for one in written])


def _entries(
    files: tuple[SourceFile, ...], key: str, most: int, report: Report
) -> Iterator[tuple[Any, Place]]:
    """The entries of one list over all files, at most `most`."""
    count = 0
    for file in files:
        entries = file.data.get(key) if isinstance(file.data, dict) else None
        if entries is None:
            continue
        place = Place(file) / key
        if not isinstance(entries, list):
            report.error(place, f"must be a list, not {shown(entries)}")
            continue
        for index, entry in enumerate(entries):
            count += 1
            if count > most:
                report.error(place / index, f"over {most} {key} in one policy")
                return
            yield entry, place / index


def _revision(sources: Sources, sets: Mapping[str, NamedSet], used: set[str]) -> str:
    """12 hex digits over what the files say: comments, layout and unused sets change nothing."""
    said = {
        "files": [file.data for file in sources.files],
        "sets": {name: sorted(sets[name].values) for name in sorted(used)},
    }
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    return blake2b(canonical, digest_size=6).hexdigest()
