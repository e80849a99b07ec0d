"""When everybody calls, a day at a time: arrays of instants and callers, sorted.

Memory is bounded by one day's calls (12 bytes each) and by what an account's pace needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .arrivals import Fleet, Pace
from .arrivals import load as load_arrivals
from .days import DAY_S, DayShape, hours_of
from .jobs import JobCalls
from .load import Plan
from .networks import AddressPool
from .pools import AccountPool
from .roster import ClassBlock, Customers, zone_s
from .seeds import numpy_rng

Times = NDArray[np.float64]
Callers = NDArray[np.int64]
JITTER = 0.12  # sigma of a campaign's daily volume
EVEN = 0.3  # sigma of rates that somebody has set


class ClassCalls:
    """The calls of one class: every account at its own pace and by its own clock."""

    def __init__(self, block: ClassBlock, plan: Plan, addresses: AddressPool) -> None:
        rng = numpy_rng(plan.seed, block.raw.name, "paces")
        indexes = range(block.first, block.first + block.count)
        zones_h = [zone_s(block.home(i, addresses).lives_in) / 3600 for i in indexes]
        self._first = block.first
        self._fleet = Fleet(_paces(block, rng, zones_h, plan.scenario.population.activity))
        self._born = np.array([block.created_s(i) for i in indexes])

    def between(
        self, start_s: float, end_s: float, rng: np.random.Generator
    ) -> tuple[Times, Callers]:
        """Nobody calls before signing up."""
        callers, times = self._fleet.times(rng, start_s, end_s)
        kept = times >= self._born[callers]
        return times[kept], callers[kept] + self._first


def _paces(
    block: ClassBlock, rng: np.random.Generator, zones_h: list[float], activity: float
) -> list[Pace]:
    """Paces as fitted to real traces; the class may keep other hours, or be set to a rate."""
    raw = block.raw
    mean = raw.rate.per_day * activity
    fitted = load_arrivals().clients(block.count, rng, mean_per_day=mean)
    rates = rng.lognormal(-(EVEN**2) / 2, EVEN, block.count) * mean
    paces = []
    for pace, rate, zone_h in zip(fitted, rates.tolist(), zones_h, strict=True):
        hours = pace.hours if raw.day == "fitted" else hours_of(raw.day)
        weekend = pace.weekend if raw.day == "fitted" else max(raw.weekend, 0.01)
        own = pace.mean_per_day if raw.rate.tail == "heavy" else rate
        paces.append(
            replace(pace, mean_per_day=own, hours=hours, weekend=weekend, utc_offset_h=zone_h)
        )
    return paces


class PoolCalls:
    """The calls of one pool: so many a day for each account in use, whoever's turn it is."""

    def __init__(self, pool: AccountPool, actor: int) -> None:
        raw = pool.campaign.raw
        self._pool = pool
        self._actor = actor
        self.per_account_day = pool.per_account_day
        self._has_human_day = pool.campaign.knobs.human_day
        self._shape = DayShape("waking" if self._has_human_day else raw.day)
        self._joins = np.array([t.joins_s for t in pool.tenures])
        self._leaves = np.array([t.leaves_s for t in pool.tenures])
        self._accounts = np.array([t.account for t in pool.tenures], dtype=np.int64)
        self._zones = np.array([zone_s(pool.country(int(a))) for a in self._accounts])
        self._outages = raw.relay.outages_per_day

    def between(
        self, start_s: float, end_s: float, rng: np.random.Generator
    ) -> tuple[Times, Callers]:
        """The calls of the day that begins at `start_s`, as far as `end_s`. Callers are the
        actor, or the accounts themselves where each keeps a human day."""
        overlap = np.minimum(self._leaves, start_s + DAY_S) - np.maximum(self._joins, start_s)
        worked = np.clip(overlap, 0.0, None) / DAY_S
        rate = self.per_account_day * rng.lognormal(-(JITTER**2) / 2, JITTER)
        if self._has_human_day:
            return self._human_day(start_s, rate, rng)
        mean = float(worked.sum()) * rate
        count = int(rng.poisson(mean)) if mean > 0 else 0
        if not count:
            return np.empty(0), np.empty(0, dtype=np.int64)
        # More accounts later in the day, more calls later in the day.
        grid = start_s + np.arange(25) * 3600.0
        active = np.searchsorted(self._joins, grid) - np.searchsorted(np.sort(self._leaves), grid)
        done = np.concatenate(([0.0], np.cumsum((active[1:] + active[:-1]) / 2 + 1e-9)))
        even = np.interp(rng.random(count) * done[-1], done, np.arange(25) * 3600.0)
        times = start_s + self._shape.bend(even, 0.0)
        kept = (times >= self._pool.begins_s) & (times < self._pool.ends_s)
        for _ in range(int(rng.poisson(self._outages))):
            silent_s = start_s + rng.random() * DAY_S
            kept &= (times < silent_s) | (times > silent_s + rng.exponential(900.0))
        return times[kept], np.full(int(kept.sum()), self._actor, dtype=np.int64)

    def _human_day(
        self, start_s: float, rate: float, rng: np.random.Generator
    ) -> tuple[Times, Callers]:
        """Two or three sittings a day for each account, by its own clock."""
        sittings = rng.random((len(self._accounts), 3)) * DAY_S
        counts = rng.poisson(rate, len(self._accounts))
        who = np.repeat(np.arange(len(self._accounts)), counts)
        centre = sittings[who, rng.integers(0, 3, len(who))]
        even = (centre + rng.exponential(1200.0, len(who))) % DAY_S
        times = start_s + self._shape.bend(even, self._zones[who])
        kept = (times >= self._joins[who]) & (times < self._leaves[who])
        return times[kept], self._accounts[who[kept]]


class Schedule:
    """All calls of a run in order of time."""

    def __init__(
        self, plan: Plan, customers: Customers, pools: Sequence[AccountPool], addresses: AddressPool
    ) -> None:
        self._plan = plan
        self._calls: list[ClassCalls | PoolCalls | JobCalls] = [
            ClassCalls(block, plan, addresses) for block in customers.blocks
        ]
        self._calls += [PoolCalls(pool, -1 - at) for at, pool in enumerate(pools)]
        self._calls += [JobCalls(block, plan) for block in customers.blocks if block.raw.jobs]

    def days(self) -> Iterator[tuple[list[float], list[int]]]:
        """Instants and callers of each day, sorted. A caller below 0 is pool `-1 - caller`."""
        plan = self._plan
        last_s = plan.start_s + plan.days * DAY_S
        start_s, day = plan.start_s, 0
        while start_s < last_s:
            end_s = min(start_s + DAY_S, last_s)
            parts = [
                calls.between(start_s, end_s, numpy_rng(plan.seed, "day", day, at))
                for at, calls in enumerate(self._calls)
            ]
            times = np.concatenate([times for times, _ in parts])
            callers = np.concatenate([callers for _, callers in parts])
            order = np.argsort(times, kind="stable")
            order = order[times[order] < end_s]
            yield times[order].tolist(), callers[order].tolist()
            start_s, day = start_s + DAY_S, day + 1
