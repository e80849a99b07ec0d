"""What an engine keeps of accounts: bounded, and never in the way of a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.core.keyed import KeyedHash
from gateway.engine import Engine, SubjectCache
from gateway.model import (
    SECOND_US,
    ClusterTerms,
    Identity,
    Outcome,
    Policy,
    Quota,
    RequestFacts,
    Status,
    Subject,
    Usage,
    Verdict,
)
from gateway.registry import all_signals
from gateway.signals import behaviour as _behaviour  # noqa: F401 — registers requests_24h
from gateway.signals import cluster as _  # noqa: F401 — registers cluster_id
from gateway.stores.memory import MemoryStore
from tests.core.builders import FACTS, NOW_US, limit, policy, rule

KEYED = KeyedHash(b"a secret of sixteen bytes")
DAY_US = 86_400 * SECOND_US


class Source:
    def __init__(self, current: Policy) -> None:
        self.current = current


class Clock:
    def now_us(self) -> int:
        return NOW_US


class Ids:
    def new_id(self, now_us: int) -> str:
        return "d" * 26


def engine(
    store: MemoryStore, source: Source, cached_subjects: int = 100, keeps_windows: bool = False
) -> Engine:
    return Engine(
        store=store,
        policies=source,
        clock=Clock(),
        ids=Ids(),
        keyed=KEYED,
        event_time=True,
        cached_subjects=cached_subjects,
        keeps_windows=keeps_windows,
    )


def request(credential: str, number: int = 0) -> RequestFacts:
    return replace(FACTS, credential=credential, decision_id=f"{credential}-{number}")


def test_the_oldest_goes_first_and_what_was_found_again_is_not_old() -> None:
    cache = SubjectCache(size=2)
    identity = Identity(Subject("a"), None)
    for credential in ("one", "two", "one", "three"):
        cache.put(credential, identity, NOW_US)
    assert cache.get("two", NOW_US) is None
    assert cache.get("one", NOW_US) is not None
    assert cache.get("three", NOW_US) is not None
    assert len(cache) == 2


def test_what_was_worked_out_stays_while_the_store_tells_the_same() -> None:
    cache = SubjectCache(size=2)
    first = cache.put("c", Identity(Subject("a", version=1), "k"), NOW_US)
    assert cache.put("c", Identity(Subject("a", version=1), "k"), NOW_US + 1) is first
    assert first.found_us == NOW_US + 1
    assert cache.put("c", Identity(Subject("a", version=2), "k"), NOW_US + 2) is not first


def test_an_identity_that_was_found_long_ago_is_looked_up_again() -> None:
    cache = SubjectCache(size=2, age_us=10)
    cache.put("c", Identity(Subject("a"), None), NOW_US)
    assert cache.get("c", NOW_US + 10) is not None
    assert cache.get("c", NOW_US + 11) is None


def test_a_cache_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SubjectCache(size=0)


async def test_more_accounts_than_are_remembered_get_the_same_decisions() -> None:
    source = Source(policy(limit("l", Quota(3, 60 * SECOND_US, 3))))
    seen: list[Verdict] = []
    for size in (1, 100):
        store = MemoryStore()
        for n in range(5):
            await store.put(Subject(f"acc_{n}"), {f"c{n}": "k"})
        small = engine(store, source, size)
        asked = [request(f"c{n}", turn) for turn in range(5) for n in range(5)]
        seen += [(await small.decide(facts)).verdict for facts in asked]
        assert len(small._cache) == min(size, 5)
    assert seen[:25] == seen[25:]
    assert seen.count(Verdict.THROTTLE) == 2 * 5 * 2


async def test_a_change_of_account_or_policy_holds_on_the_next_request() -> None:
    store, source = MemoryStore(), Source(policy(limit("l")))
    running = engine(store, source)
    stored = await store.put(Subject("acc_1"), {"c": "k"})
    assert (await running.decide(request("c"))).verdict is Verdict.ALLOW
    await store.put(replace(stored, status=Status.BANNED), None)
    assert (await running.decide(request("c", 1))).reason == "account_banned"
    await store.put(replace(stored, version=0), None)
    assert (await running.decide(request("c", 2))).verdict is Verdict.ALLOW
    source.current = policy(rule("closed", Verdict.DENY))
    assert (await running.decide(request("c", 3))).reason == "closed"


async def test_strangers_leave_nothing_in_the_cache() -> None:
    running = engine(MemoryStore(), Source(policy(limit("l"))))
    for n in range(50):
        decision = await running.decide(request(f"unknown-{n}"))
        assert decision.reason == "unknown_credential"
    assert len(running._cache) == 0


async def test_a_cluster_gets_another_quota_each_day_and_others_are_left_alone() -> None:
    terms = ClusterTerms({}, (), jitter=0.5)
    by_cluster = limit(
        "c", Quota(1_000_000, 60 * SECOND_US, 1_000_000), scope="c", scope_signal=3, cluster=terms
    )
    compiled = policy(by_cluster)
    source = Source(replace(compiled, signals=(*compiled.signals, all_signals()["cluster_id"])))
    store = MemoryStore()
    await store.put(Subject("in", cluster_id="x", cluster_state="suspected"), {"in": "k"})
    running = engine(store, source)
    quotas = []
    for day in (0, 0, 1):
        facts = replace(request("in", day), received_us=NOW_US + day * DAY_US)
        quotas.append((await running.decide(facts)).plan[0].quota)
    assert quotas[0] == quotas[1] != quotas[2]


def busy(requests: int) -> Policy:
    """Refuses who has made as many requests in a day."""
    compiled = policy()
    place = len(compiled.signals)

    def is_busy(values: Sequence[object]) -> bool:
        seen = values[place]
        return isinstance(seen, int) and seen >= requests

    signals = (*compiled.signals, all_signals()["requests_24h"])
    return replace(compiled, signals=signals, rules=(rule("busy", Verdict.DENY, when=is_busy),))


async def exchange(running: Engine, facts: RequestFacts) -> Verdict:
    decision = await running.decide(facts)
    served = decision.is_served
    await running.finish(
        facts,
        decision,
        outcome=Outcome.COMPLETE if served else Outcome.REFUSED,
        usage=Usage(1, 0, 2) if served else None,
        upstream_status=200 if served else None,
    )
    return decision.verdict


async def test_a_request_sees_what_its_account_did_before_it() -> None:
    store = MemoryStore()
    for name in ("c", "other"):
        await store.put(Subject(f"acc_{name}"), {name: "k"})
    running = engine(store, Source(busy(3)))
    verdicts = [await exchange(running, request("c", n)) for n in range(6)]
    assert verdicts == [Verdict.ALLOW] * 3 + [Verdict.DENY] * 3
    assert await exchange(running, request("other")) is Verdict.ALLOW
    assert await exchange(running, request("stranger")) is Verdict.DENY
    assert store.window("acc_stranger") is None


async def test_no_window_is_kept_that_nobody_reads() -> None:
    store = MemoryStore()
    await store.put(Subject("acc_1"), {"c": "k"})
    plain = engine(store, Source(policy(limit("l"))))
    facts = request("c")
    await exchange(plain, facts)
    assert facts.window is store.window("acc_1") is None
    keeping = engine(store, Source(policy(limit("l"))), keeps_windows=True)
    await exchange(keeping, facts)
    assert store.window("acc_1") is not None
    again = request("c", 2)
    await exchange(keeping, again)
    assert again.window is None
