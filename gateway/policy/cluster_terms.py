"""Limits by cluster: quotas by state and suspicion, how far they lie off, and who goes first.

    states: {watched: 20k/day, suspected: {quota: 300/day, burst: 30}, confirmed: 0}
    suspicion: {0.6: 2k/day, 0.9: 200/day}     # from that suspicion on
    jitter: 0.2
    floor: 30d

Bands of suspicion are named by where they begin, so that they cannot overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from ..core.cluster import DISMISSED, is_tighter
from ..model import ClusterTerms, Cost, Quota
from .durations import parse_duration
from .hints import did_you_mean
from .schema import RawLimit
from .source import Place, Report, shown

SIGNALS = frozenset(
    {"cluster_id", "cluster_state", "cluster_size", "suspicion", "known_before_cluster_s"}
)
STATES = ("watched", "suspected", "confirmed")  # the worse the later
KEYS = ("states", "suspicion", "jitter", "floor")
DEFAULT_JITTER = 0.2
MAX_BANDS = 20
MIN_FLOOR_US, MAX_FLOOR_US = 86_400_000_000, 366 * 86_400_000_000
DAY_US = 86_400_000_000

QuotaReader = Callable[[Any, Cost, Place], Quota | None]
"""`50/min` or `{quota: 50/min, burst: 10}`; None when the report says why not."""


def names_cluster(table: object) -> bool:
    """Whether a condition looks at a cluster, at any depth."""
    if isinstance(table, dict):
        return any(name in SIGNALS or names_cluster(inner) for name, inner in table.items())
    return isinstance(table, list) and any(map(names_cluster, table))


class ClusterTermsCompiler:
    """Compiles what a limit says of clusters."""

    def __init__(self, report: Report, read_quota: QuotaReader) -> None:
        self._report = report
        self._read_quota = read_quota

    def compile(
        self, raw: RawLimit, cost: Cost, base: Quota | None, place: Place, *, by: Iterable[str]
    ) -> ClusterTerms | None:
        """None for a limit that does not count by cluster."""
        if "cluster_id" not in by:
            for key in KEYS:
                if getattr(raw, key) is not None:
                    self._report.error(place / key, "is for limits by cluster only")
            return None
        return ClusterTerms(
            states=self._states(raw, cost, place / "states"),
            suspicion=self._bands(raw, cost, base, place / "suspicion"),
            jitter=DEFAULT_JITTER if raw.jitter is None else raw.jitter,
            floor_us=self._floor_us(raw, cost, place / "floor"),
        )

    def _states(self, raw: RawLimit, cost: Cost, place: Place) -> dict[str, Quota]:
        quotas: dict[str, Quota] = {}
        for state, value in self._table(raw.states, "state", place).items():
            if state == DISMISSED:
                self._report.error(place / state, "has no limit: people have said it is no cluster")
            elif state not in STATES:
                hint = did_you_mean(state, STATES)
                self._report.error(place / state, f"cluster_state is never {shown(state)}{hint}")
            elif (quota := self._quota(value, cost, place / state)) is not None:
                quotas[state] = quota
        steps = [(state, quotas[state], place / state) for state in STATES if state in quotas]
        self._check_order(steps)
        return quotas

    def _bands(
        self, raw: RawLimit, cost: Cost, base: Quota | None, place: Place
    ) -> tuple[tuple[float, Quota], ...]:
        bands: dict[float, tuple[str, Quota]] = {}
        table = self._table(raw.suspicion, "suspicion", place)
        if len(table) > MAX_BANDS:
            self._report.error(place, f"over {MAX_BANDS} bands")
            return ()
        for text, value in table.items():
            at_least = self._threshold(text, place / text)
            quota = self._quota(value, cost, place / text)
            if at_least is None or quota is None:
                continue
            if at_least in bands:
                message = f"overlaps {bands[at_least][0]}: both begin at the same suspicion"
                self._report.error(place / text, message)
            bands[at_least] = (text, quota)
        ordered = sorted(bands.items())
        steps = [(text, quota, place / text) for _, (text, quota) in ordered]
        self._check_order([*([("quota", base, place)] if base else []), *steps])
        return tuple([(at_least, quota) for at_least, (_, quota) in ordered])

    def _table(self, value: Any, what: str, place: Place) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict) or not value:
            self._report.error(place, f"must be a table from {what} to quota")
            return {}
        return value

    def _threshold(self, text: str, place: Place) -> float | None:
        try:
            at_least = float(text)
        except ValueError:
            at_least = -1.0
        if not 0.0 <= at_least <= 1.0:  # also for what is no number at all
            self._report.error(place, f"{shown(text)} is no suspicion: a number from 0 to 1")
            return None
        return at_least

    def _quota(self, value: Any, cost: Cost, place: Place) -> Quota | None:
        """As elsewhere, and 0 for nothing at all."""
        is_table = isinstance(value, dict)
        told = value.get("quota") if is_table else value
        if type(told) is not int or told != 0:
            return self._read_quota(value, cost, place)
        if is_table and set(value) != {"quota"}:
            self._report.error(place, "a quota of 0 goes alone: nothing passes")
        return Quota(0, 0 if cost is Cost.CONCURRENCY else DAY_US, 0)

    def _check_order(self, steps: list[tuple[str, Quota, Place]]) -> None:
        """Whoever is suspected more must never be allowed more."""
        for (before, loose, _), (_, tight, place) in pairwise(steps):
            if is_tighter(loose, tight):
                self._report.error(place, f"lets more pass than {before}, for a worse suspicion")
            elif tight.burst > loose.burst:
                self._report.error(
                    place,
                    f"lets {tight.burst} pass at once, {before} only {loose.burst}: "
                    f"a worse suspicion must not be allowed more, so say a burst for {before}",
                )

    def _floor_us(self, raw: RawLimit, cost: Cost, place: Place) -> int | None:
        if raw.floor is None:
            return None
        if cost is not Cost.REQUESTS:
            self._report.error(place, "is for cost: requests only")
        try:
            floor_us = parse_duration(raw.floor)
        except ValueError as error:
            self._report.error(place, str(error))
            return None
        if not MIN_FLOOR_US <= floor_us <= MAX_FLOOR_US:
            self._report.error(place, "must be from 1d to 366d")
        return floor_us
