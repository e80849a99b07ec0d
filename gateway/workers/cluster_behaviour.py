"""What a cluster's accounts do, beside a sample of all accounts, for whoever has to judge it.

Worked out when somebody looks at a cluster: a few hundred reads of the store, and nothing kept but
the sample. It moves no account and no verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..classifiers.cluster import (
    HEAD,
    LEAST_MEMBERS,
    MAX_MEMBERS,
    MAX_POPULATION,
    Population,
    cluster_values,
)
from ..classifiers.model import LinearModel
from ..core.behaviour import Behaviour
from ..core.window import opened
from ..model import SECOND_US
from ..ports import Clock
from ..stores import RedisStore
from ..stores.memory import MemoryStore

POPULATION_US = 600 * SECOND_US  # a sample is compared with for as long
PAGES = 20
MAX_REASONS = 6
TOO_FEW = (
    "too few of its accounts have a window to say how they behave; windows are kept with "
    "`windows: true` in the settings, or once a policy names a signal of them"
)


class ClusterBehaviour:
    """One gateway's. Methods raise StoreError."""

    def __init__(self, store: RedisStore, model: LinearModel, clock: Clock) -> None:
        self._store = store
        self._model = model
        self._clock = clock
        self._population: Population | None = None
        self._population_us = 0

    async def of(self, account_ids: Sequence[str], *, size: int) -> dict[str, Any]:
        """`score` 0..1 and what weighs most, in words; `score` None, and why, where windows of
        fewer than `LEAST_MEMBERS` of the accounts, or of all, are kept."""
        members = await self._behaviours(spread(account_ids, MAX_MEMBERS))
        population = await self._compared_with()
        return judged(self._model, members, population, size=size)

    async def _compared_with(self) -> Population | None:
        """A sample of all accounts: the first that a scan meets, which goes by their hashes."""
        now_us = self._clock.now_us()
        if self._population is None or now_us - self._population_us > POPULATION_US:
            self._population = await self._sampled()
            self._population_us = now_us
        return self._population

    async def _sampled(self) -> Population | None:
        found: list[Behaviour] = []
        cursor: str | None = None
        for _ in range(PAGES):
            page, cursor = await self._store.page(cursor, enough=MAX_POPULATION)
            found += await self._behaviours([subject.account_id for subject in page])
            if cursor is None or len(found) >= MAX_POPULATION:
                break
        return Population(found) if len(found) >= LEAST_MEMBERS else None

    async def _behaviours(self, account_ids: Sequence[str]) -> list[Behaviour]:
        now_s = self._clock.now_us() // SECOND_US
        return _read(await self._store.windows_of(account_ids), now_s)


class ReplayedBehaviour:
    """The same of a replay's memory store at its end, so that the same clusters have the same
    scores in each run."""

    def __init__(self, store: MemoryStore, model: LinearModel, now_us: int) -> None:
        self._store = store
        self._model = model
        self._now_s = now_us // SECOND_US
        windows = store.windows()
        some = spread(sorted(windows), MAX_POPULATION)
        read = _read([windows[name] for name in some], self._now_s)
        self._population = Population(read) if len(read) >= LEAST_MEMBERS else None

    def of(self, account_ids: Sequence[str]) -> dict[str, Any]:
        """As `ClusterBehaviour.of`."""
        some = spread(sorted(account_ids), MAX_MEMBERS)
        members = _read(map(self._store.window, some), self._now_s)
        return judged(self._model, members, self._population, size=len(account_ids))


def judged(
    model: LinearModel,
    members: Sequence[Behaviour],
    population: Population | None,
    *,
    size: int,
) -> dict[str, Any]:
    """What is told of the group."""
    if len(members) < LEAST_MEMBERS or population is None:
        return {"score": None, "members_read": len(members), "why": [TOO_FEW]}
    values = cluster_values(members, population, size=size)
    return {
        "score": model.scores(values)[0],
        "members_read": len(members),
        "compared_with": population.count,
        "model": model.version,
        "why": [
            f"it {one.words} ({one.logit:+.1f})"
            for one in model.contributions(HEAD, values, most=MAX_REASONS)
        ],
    }


def _read(windows: Iterable[bytes | None], now_s: int) -> list[Behaviour]:
    opened_ones = [opened(packed, now_s) for packed in windows]
    return [Behaviour(numbers, now_s) for numbers in opened_ones if numbers is not None]


def spread(names: Sequence[str], most: int) -> Sequence[str]:
    """At most so many of them, evenly from the first to the last."""
    if len(names) <= most:
        return names
    return [names[number * len(names) // most] for number in range(most)]
