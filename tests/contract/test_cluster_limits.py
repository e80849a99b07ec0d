"""A cluster's limits on every store: a member counts from its first request after it was linked."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.keyed import KeyedHash
from gateway.engine import Engine
from gateway.model import SECOND_US, Decision, Policy, RequestFacts, Subject, Verdict
from tests.core.builders import FACTS, NOW_US
from tests.policy.builders import HEAD, WHY, compiled

from .conftest import AnyStore

DAY_US = 86_400 * SECOND_US
POLICY = compiled(
    HEAD
    + f"""
limits:
  - name: cluster-requests
    {WHY}
    by: cluster
    states: {{suspected: {{quota: 300/day, burst: 3}}, confirmed: 0}}
    floor: 30d
    jitter: 0
  - {{name: own, {WHY}, by: account, quota: 600/min}}
"""
)
LINKED = {"cluster_id": "c_1", "cluster_size": 3, "cluster_since_us": NOW_US - DAY_US}


class Fixed:
    current: Policy = POLICY


class FixedClock:
    def now_us(self) -> int:
        return NOW_US


class CountedIds:
    count = 0

    def new_id(self, now_us: int) -> str:
        self.count += 1
        return f"{self.count:026d}"


class Session:
    """One engine on one store; every account's one key is its name."""

    def __init__(self, store: AnyStore) -> None:
        self._store = store
        self._ids = CountedIds()
        self.engine = Engine(
            store=store,
            policies=Fixed(),
            clock=FixedClock(),
            ids=self._ids,
            keyed=KeyedHash(b"sixteen bytes and more"),
            event_time=True,
        )

    async def know(self, account_id: str, **changes: object) -> None:
        subject = replace(Subject(account_id), **changes)  # type: ignore[arg-type]
        await self._store.put(subject, {credential(account_id): "k"})

    async def ask(self, account_id: str) -> Decision:
        facts: RequestFacts = replace(
            FACTS, decision_id=self._ids.new_id(0), credential=credential(account_id)
        )
        return await self.engine.decide(facts)


def credential(account_id: str) -> str:
    return account_id.ljust(32, "0")


def tags(decision: Decision) -> set[str]:
    return {planned.step.tag for planned in decision.plan}


async def test_the_very_next_request_after_linking_is_charged_to_the_cluster(
    store: AnyStore,
) -> None:
    session = Session(store)
    for account_id in ("acc_1", "acc_2"):
        await session.know(account_id)
        before = await session.ask(account_id)  # from here on this process has it in its cache
        assert tags(before) == {f"a:{account_id}"}
    for account_id in ("acc_1", "acc_2"):
        await session.know(account_id, cluster_state="suspected", **LINKED)
    served = [await session.ask(account_id) for account_id in ("acc_1", "acc_2", "acc_1")]
    assert all("c:c_1" in tags(decision) for decision in served)
    assert [decision.verdict for decision in served] == [Verdict.ALLOW] * 3
    refused = await session.ask("acc_2")
    assert (refused.verdict, refused.reason) == (Verdict.THROTTLE, "cluster-requests")


async def test_a_confirmation_and_a_dismissal_hold_on_the_next_request(store: AnyStore) -> None:
    session = Session(store)
    await session.know("acc_1", cluster_state="suspected", **LINKED)
    assert (await session.ask("acc_1")).is_served
    await session.know("acc_1", cluster_state="confirmed", **LINKED)
    for _ in range(2):
        assert (await session.ask("acc_1")).reason == "cluster-requests"
    await session.know("acc_1", cluster_state="dismissed", **LINKED)
    decision = await session.ask("acc_1")
    assert decision.is_served
    assert tags(decision) == {"a:acc_1"}


async def test_who_was_there_before_the_evidence_goes_first_on_a_full_budget(
    store: AnyStore,
) -> None:
    session = Session(store)
    await session.know("acc_new", cluster_state="suspected", **LINKED)
    old = {"created_us": NOW_US - 60 * DAY_US}
    await session.know("acc_old", cluster_state="suspected", **old, **LINKED)
    verdicts = [(await session.ask("acc_new")).verdict for _ in range(4)]
    assert verdicts == [Verdict.ALLOW] * 3 + [Verdict.THROTTLE]
    verdicts = [(await session.ask("acc_old")).verdict for _ in range(4)]
    assert verdicts == [Verdict.ALLOW] * 3 + [Verdict.THROTTLE]
