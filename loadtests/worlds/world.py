"""A world: who is in it, what happens to them, and every exchange in order of time.

Law: the same scenario and seed give the same bytes. `accounts`, `events`, `labels` and `exchanges`
may be asked for in any order and as often as wanted; none reads what another left behind.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from ...workers.traffic import LoggedRequest
from .customers import CustomerDesk
from .days import DAY_S
from .desk import Desk, Later, Logged, Sent
from .faces import Faces
from .facts import account_id
from .load import Plan, load_plan
from .networks import load_addresses
from .operators import Operator
from .pools import AccountPool, pools_of
from .reactions import OperatorReactions, People
from .refusals import REFUSED_S, Refusal
from .roster import Customers
from .schedule import Schedule
from .seeds import python_rng
from .workshop import Workshop

CAMPAIGN_CLASS = "campaign"
JOIN_SLACK_S = 60.0


class World:
    """A scenario come to life. `plan` says what was asked for."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.addresses = load_addresses(plan.data_dir)
        self.customers = Customers(plan)
        self.pools: list[AccountPool] = []
        first = self.customers.count
        for campaign in plan.campaigns:
            found = pools_of(campaign, plan, self.addresses, first)
            self.pools += found
            first += sum(pool.count for pool in found)
        self.account_count = first
        self._joins_s = {
            tenure.account: tenure.joins_s for pool in self.pools for tenure in pool.tenures
        }

    @property
    def has_mixed_accounts(self) -> bool:
        """Whether some account carries both campaign traffic and others'."""
        return any(pool.campaign.knobs.mixing > 0 for pool in self.pools)

    def pool_account_ids(self) -> frozenset[str]:
        """The accounts of all pools."""
        seed = self.plan.seed
        return frozenset(
            account_id(seed, index)
            for pool in self.pools
            for index in range(pool.first, pool.first + pool.count)
        )

    # ── who ──────────────────────────────────────────────────────────────────────────────────

    def accounts(self) -> Iterator[dict[str, Any]]:
        """Accounts v1 of those who are there at the start, in the order of their ids, so that
        nothing follows from the order."""
        for _, index in self._in_order():
            if self._created_s(index) <= self.plan.start_s:
                yield self._record(index)

    def labels(self) -> Iterator[dict[str, Any]]:
        """`campaign` and `class` of every account; `pool` where a campaign is split, `frames`
        naming the campaign whose victim it is."""
        framed = self._framed()
        for identifier, index in self._in_order():
            pool = self._pool_of(index)
            if pool is None:
                name = self.customers.block_of(index).raw.name
                label = {"account_id": identifier, "campaign": None, "class": name}
                if index in framed:
                    label["framed_by"] = framed[index]
            else:
                label = {
                    "account_id": identifier,
                    "campaign": pool.campaign.id,
                    "class": CAMPAIGN_CLASS,
                }
                if pool.campaign.knobs.split > 1:
                    label["pool"] = str(pool.number)
            yield label

    def events(self) -> Iterator[dict[str, Any]]:
        """Sign-ups, verifications and bans on the way, by time."""
        found: list[tuple[float, str, int, str]] = []
        end_s = self.plan.start_s + self.plan.days * DAY_S
        for identifier, index in self._in_order():
            created_s = self._created_s(index)
            if self.plan.start_s < created_s < end_s:
                found.append((created_s, identifier, index, "created"))
            verified_s = self._verified_s(index, created_s)
            if verified_s is not None and self.plan.start_s < verified_s < end_s:
                found.append((verified_s, identifier, index, "verified"))
        for pool in self.pools:
            for tenure in pool.tenures:
                if tenure.is_banned and tenure.leaves_s < min(end_s, pool.ends_s):
                    name = account_id(self.plan.seed, tenure.account)
                    found.append((tenure.leaves_s, name, tenure.account, "banned"))
        for ts, identifier, index, event in sorted(found):
            yield self._event(ts, identifier, index, event)

    def _event(self, ts: float, identifier: str, index: int, event: str) -> dict[str, Any]:
        if event == "created":
            return {"ts": round(ts, 3), "event": event, **self._record(index)}
        record: dict[str, Any] = {"ts": round(ts, 3), "event": event, "account_id": identifier}
        return {**record, "level": "phone"} if event == "verified" else record

    def _verified_s(self, index: int, created_s: float) -> float | None:
        """Some accounts confirm a phone in the weeks after they signed up."""
        rng = python_rng(self.plan.seed, "verifies", index)
        if rng.random() >= 0.06:
            return None
        return created_s + rng.expovariate(1 / 6.0) * DAY_S

    def _in_order(self) -> list[tuple[str, int]]:
        seed = self.plan.seed
        return sorted((account_id(seed, index), index) for index in range(self.account_count))

    def _pool_of(self, index: int) -> AccountPool | None:
        if index < self.customers.count:
            return None
        for pool in self.pools:
            if pool.first <= index < pool.first + pool.count:
                return pool
        raise IndexError(f"no account {index}")

    def _created_s(self, index: int) -> float:
        pool = self._pool_of(index)
        if pool is None:
            return self.customers.block_of(index).created_s(index)
        return pool.created_s(index, self._joins_s.get(index))

    def _record(self, index: int) -> dict[str, Any]:
        pool = self._pool_of(index)
        if pool is None:
            return self.customers.block_of(index).record(index, self.addresses)
        return pool.record(index, self._joins_s.get(index))

    def _framed(self) -> dict[int, str]:
        return {
            index: pool.campaign.id
            for pool in self.pools
            if pool.campaign.knobs.frames is not None
            for index in pool.framed_accounts(self.customers)
        }

    # ── what they send ───────────────────────────────────────────────────────────────────────

    def exchanges(self) -> Iterator[Logged]:
        """Every exchange by time, with the campaign it belongs to."""
        for sent in self.run(self.desk()):
            yield sent.request, sent.campaign

    def exchanges_with_kind(self) -> Iterator[tuple[LoggedRequest, str | None, str]]:
        """The same exchanges, and the kind of task of each (`content/tasks.yaml`)."""
        desk = self.desk()
        for sent in self.run(desk):
            yield sent.request, sent.campaign, desk.last_kind

    def desk(self) -> Desk:
        """What the senders of one run share."""
        return Desk(self.plan, self.addresses)

    def run(
        self,
        desk: Desk,
        *,
        people: People | None = None,
        operators: Callable[[AccountPool], OperatorReactions] | None = None,
    ) -> Generator[Sent, Refusal | None, None]:
        """Every exchange by time. What is sent into the generator is what a gateway answered to the
        one before, None where it was served; its sender hears of it before the next is made.

        `people` and `operators` react to refusals; without them none may be sent.
        """
        for sent in self._sendings(desk, people, operators):
            refusal = yield sent
            if refusal is None:
                sent.sender.answered(sent)
            else:
                sent.conversation.unanswer(sent.before, sent.at_s + REFUSED_S)
                sent.sender.refused(sent, refusal)

    def _sendings(
        self,
        desk: Desk,
        people: People | None,
        reactions: Callable[[AccountPool], OperatorReactions] | None,
    ) -> Iterator[Sent]:
        """Each is made when it is asked for, so what became of those before it counts."""
        faces = Faces(self.customers, self.plan, self.addresses)
        customers = CustomerDesk(desk, faces, people)
        operators = [
            Operator(
                pool,
                Workshop(pool, self.customers, faces),
                desk,
                -1 - at,
                None if reactions is None else reactions(pool),
            )
            for at, pool in enumerate(self.pools)
        ]
        schedule = Schedule(self.plan, self.customers, self.pools, self.addresses)
        owners = self.customers.count
        end_s = self.plan.start_s + self.plan.days * DAY_S
        later = desk.later
        for times, callers in schedule.days():
            for at_s, caller in zip(times, callers, strict=True):
                while later and later[0].at_s <= at_s:
                    again = self._again(heapq.heappop(later), customers, operators)
                    if again is not None:
                        yield again
                if 0 <= caller < owners:
                    yield customers.call(caller, at_s)
                    continue
                made = self._pool_call(caller, at_s, operators)
                if made is not None:
                    yield made
        while later and later[0].at_s < end_s:
            again = self._again(heapq.heappop(later), customers, operators)
            if again is not None:
                yield again

    def _pool_call(self, caller: int, at_s: float, operators: list[Operator]) -> Sent | None:
        if caller < 0:
            return operators[-1 - caller].call(at_s, None)
        pool = self._pool_of(caller)
        assert pool is not None
        return operators[self.pools.index(pool)].call(at_s, caller)

    @staticmethod
    def _again(later: Later, customers: CustomerDesk, operators: list[Operator]) -> Sent | None:
        if later.actor < 0:
            return operators[-1 - later.actor].again(later)
        return customers.again(later)


def load_world(
    scenario: Path, *, scale: float = 1.0, days: float | None = None, seed: int | None = None
) -> World:
    """The world of a scenario file; `scale` multiplies its numbers of accounts, campaigns' too.

    Raises PolicyError when a file cannot be used, UsageError when there is none.
    """
    return World(load_plan(scenario, scale=scale, days=days, seed=seed))
