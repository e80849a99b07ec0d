"""Whom a change of policy would touch: both policies over the same traffic, in one pass.

Each policy has an engine, a store and settlements of its own, as if it alone had been in force
from the first line. What is kept grows with accounts, never with exchanges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..adapters.geo import bundled_geo
from ..classifiers.load import ModelHolder
from ..classifiers.reader import TaskReader
from ..core.keyed import KeyedHash
from ..errors import Problem
from ..model import Decision, Policy, Verdict
from ..stores.memory import MemoryStore
from .account_import import ImportReport
from .account_records import RecordError, RecordReader
from .events import AccountEvent, parse_record, read_events
from .feeds import BrokenFeedError, Feed
from .replay import REPLAY_SECRET, Replay
from .replay_files import PROGRESS_EVERY, rare_collections
from .traffic import LineReader, ReadReport, TrafficLine, instant_us

NEWLY, NO_LONGER, OTHER, SHADOW = (
    "newly_refused",
    "no_longer_refused",
    "other_verdict",
    "would_be_newly_refused",
)
UNLABELLED = "unlabelled"
EXAMPLES_PER_RULE = 5
Lines = Callable[[], Iterable[bytes]]


@dataclass(slots=True)
class Touched:
    """Exchanges of one kind of change, by account and deciding rule."""

    by_account: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class DiffTally:
    """What the two policies made of the same lines."""

    exchanges: Counter[str] = field(default_factory=Counter)  # by account
    touched: dict[str, Touched] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)  # before, after
    examples: list[dict[str, Any]] = field(default_factory=list)
    max_examples: int = 20
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, number: int, line: TrafficLine, old: Decision, new: Decision) -> None:
        self.exchanges[line.account_id] += 1
        self.refused["before"] += old.verdict is not Verdict.ALLOW
        self.refused["after"] += new.verdict is not Verdict.ALLOW
        kind = _kind(old, new)
        if kind is None:
            return
        touched = self.touched.setdefault(kind, Touched())
        rule = _rule(kind, old, new)
        touched.by_account[line.account_id] += 1
        touched.by_rule[rule] += 1
        if touched.by_rule[rule] <= EXAMPLES_PER_RULE and len(self.examples) < self.max_examples:
            self.examples.append(self._example(number, line, kind, old, new))

    def _example(
        self, number: int, line: TrafficLine, kind: str, old: Decision, new: Decision
    ) -> dict[str, Any]:
        """By the line, which whoever has the log can look up; the account under a number."""
        name = self._names.setdefault(line.account_id, f"account-{len(self._names) + 1}")
        return {
            "line": number,
            "ts": line.ts,
            "account": name,
            "kind": kind,
            "before": _told(old),
            "after": _told(new),
        }

    def as_json(self, class_of: Mapping[str, str]) -> dict[str, Any]:
        """`class_of`: account → class; whoever is not in it is `unlabelled`."""
        return {
            "exchanges": self.exchanges.total(),
            "accounts": len(self.exchanges),
            "refused_before": self.refused["before"],
            "refused_after": self.refused["after"],
            "changes": {
                kind: _touched_json(touched, class_of)
                for kind, touched in sorted(self.touched.items())
            },
            "classes": _by_class(self.exchanges, class_of),
            "examples": self.examples,
        }

    def count(self, kind: str) -> int:
        touched = self.touched.get(kind)
        return 0 if touched is None else touched.by_account.total()


@dataclass(frozen=True, slots=True)
class DiffResult:
    tally: DiffTally
    problems: list[Problem]
    is_unusable: bool


async def diff_policies(
    old: Policy,
    new: Policy,
    *,
    feed: Feed,
    accounts: tuple[str, Lines],
    events: tuple[str, Lines] | None,
    max_examples: int = 20,
    on_progress: Callable[[int], None] | None = None,
) -> DiffResult:
    """Replay everything under both. Raises UsageError for files that cannot be opened."""
    imports, reads = ImportReport(), ReadReport()
    pair = _Pair(old, new, DiffTally(max_examples=max_examples))
    reader = RecordReader(KeyedHash(REPLAY_SECRET), geo=bundled_geo())
    await pair.add_accounts(*accounts, reader, imports)
    if events is not None:
        pair.events = read_events(events[0], events[1](), reader, imports)
    lines, number = LineReader(feed.name, reads), 0
    with rare_collections():
        try:
            for number, raw in enumerate(feed.lines(), 1):
                line = lines.read(number, raw)
                if line is not None:
                    await pair.decide(number, line)
                if on_progress is not None and number % PROGRESS_EVERY == 0:
                    on_progress(number)
        except BrokenFeedError as error:
            reads.complain_of_cut(feed.name, number + 1, str(error))
    return DiffResult(pair.tally, imports.problems + reads.problems, reads.is_unusable)


@dataclass(frozen=True, slots=True)
class _Fixed:
    """A policy that does not change on the way."""

    current: Policy


class _Pair:
    """Two replays in step."""

    def __init__(self, old: Policy, new: Policy, tally: DiffTally) -> None:
        self.tally = tally
        self.events: list[AccountEvent] = []
        self._applied = 0
        self._replays = [
            Replay(
                MemoryStore(), _Fixed(policy), tasks=TaskReader(ModelHolder()), geo=bundled_geo()
            )
            for policy in (old, new)
        ]

    async def add_accounts(
        self, name: str, lines: Lines, reader: RecordReader, report: ImportReport
    ) -> None:
        for number, line in enumerate(lines(), 1):
            try:
                record = parse_record(line)
                change = reader.read(record)
            except RecordError as error:
                report.add(Problem(name, number, "", str(error)))
                continue
            key_ids = record.get("key_ids") if isinstance(record, dict) else None
            for replay in self._replays:
                await replay.add_account(change, tuple(map(str, key_ids or ())))
            report.imported += 1

    async def decide(self, number: int, line: TrafficLine) -> None:
        now_us = instant_us(line.ts)
        while self._applied < len(self.events) and self.events[self._applied].ts_us <= now_us:
            for replay in self._replays:
                await replay.apply_event(self.events[self._applied])
            self._applied += 1
        before, after = [await replay.decide(number, line) for replay in self._replays]
        self.tally.add(number, line, before, after)


def classes_of(lines: Iterable[bytes]) -> dict[str, str]:
    """Account → class from a labels file; a campaign's accounts are `campaign NAME`.

    Raises RecordError for a line that is no label.
    """
    found = {}
    for line in lines:
        label = parse_record(line)
        if not isinstance(label, dict) or not isinstance(label.get("account_id"), str):
            raise RecordError("a label is an object with account_id, campaign and class")
        campaign = label.get("campaign")
        name = f"campaign {campaign}" if campaign else str(label.get("class") or UNLABELLED)
        found[label["account_id"]] = name
    return found


def _kind(old: Decision, new: Decision) -> str | None:
    was_refused = old.verdict is not Verdict.ALLOW
    is_refused = new.verdict is not Verdict.ALLOW
    if was_refused != is_refused:
        return NEWLY if is_refused else NO_LONGER
    if old.verdict is not new.verdict:
        return OTHER
    if old.would_be is Verdict.ALLOW and new.would_be is not Verdict.ALLOW:
        return SHADOW
    return None


def _rule(kind: str, old: Decision, new: Decision) -> str:
    """The one that decides; for shadow the worst that would have."""
    if kind == NO_LONGER:
        return old.reason
    if kind != SHADOW:
        return new.reason
    return max(new.findings, key=lambda f: (f.verdict, f.rule)).rule


def _told(decision: Decision) -> dict[str, str]:
    return {
        "verdict": decision.verdict.text,
        "would_be": decision.would_be.text,
        "reason": decision.reason,
    }


def _touched_json(touched: Touched, class_of: Mapping[str, str]) -> dict[str, Any]:
    return {
        "exchanges": touched.by_account.total(),
        "accounts": len(touched.by_account),
        "by_rule": dict(touched.by_rule.most_common()),
        "by_class": _by_class(touched.by_account, class_of),
    }


def _by_class(by_account: Counter[str], class_of: Mapping[str, str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for account_id, exchanges in by_account.items():
        one = found.setdefault(
            class_of.get(account_id, UNLABELLED), {"accounts": 0, "exchanges": 0}
        )
        one["accounts"] += 1
        one["exchanges"] += exchanges
    return dict(sorted(found.items()))
