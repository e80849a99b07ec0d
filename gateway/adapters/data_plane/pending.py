"""Exchanges that a data plane carries: decided here, and open until it reports the end.

Law: whatever becomes of the data plane, an exchange is finished once. What is never reported
is finished as `unsettled`: its lease has lapsed by itself and its estimate stands.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable
from typing import Protocol

from ...model import Decision, Outcome, RequestFacts, Timings, Usage, record

MAX_PENDING = 65_536
SWEEP_AT_ONCE = 512


@record
class Pending:
    """One served request. `shape` names the body reader of its route, None where there is none."""

    facts: RequestFacts
    decision: Decision
    shape: str | None
    decision_us: int


class Finish(Protocol):
    """`Engine.finish`."""

    def __call__(
        self,
        facts: RequestFacts,
        decision: Decision,
        *,
        outcome: Outcome,
        usage: Usage | None = ...,
        upstream_status: int | None = ...,
        timings: Timings = ...,
    ) -> Awaitable[None]: ...


class PendingExchanges:
    """Bounded by number and age. `unsettled` counts what was given up."""

    def __init__(self, finish: Finish, *, age_us: int, size: int = MAX_PENDING) -> None:
        self.unsettled = 0
        self._finish = finish
        self._age_us = age_us
        self._size = size
        self._open: OrderedDict[str, Pending] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    async def add(self, pending: Pending) -> None:
        """The oldest goes where there are too many."""
        self._open[pending.decision.decision_id] = pending
        if len(self._open) > self._size:
            await self._give_up()

    def take(self, decision_id: str) -> Pending | None:
        """None when it was reported already, given up, or never decided here."""
        return self._open.pop(decision_id, None)

    async def sweep(self, now_us: int) -> None:
        """Give up what is older than the age, at most `SWEEP_AT_ONCE` in one go."""
        for _ in range(SWEEP_AT_ONCE):
            oldest = next(iter(self._open.values()), None)
            if oldest is None or now_us - oldest.facts.received_us < self._age_us:
                return
            await self._give_up()

    async def give_up_all(self) -> None:
        """At the end of the process."""
        while self._open:
            await self._give_up()

    async def _give_up(self) -> None:
        _, pending = self._open.popitem(last=False)
        self.unsettled += 1
        await self._finish(
            pending.facts,
            pending.decision,
            outcome=Outcome.UNSETTLED,
            usage=Usage(),
            timings=Timings(pending.decision_us, None, 0),
        )
