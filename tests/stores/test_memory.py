"""The memory store: the bound that the product promises, and bounded memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.gcra import increment_us
from gateway.model import SECOND_US, Correction, Quota, Settlement, Status, Subject
from gateway.stores import memory
from gateway.stores.memory import MemoryStore
from gateway.stores.memory_state import MemoryState

from .steps import MINUTE_US, NOW_US, charge, gcra, lease, look

QUOTA = Quota(60, MINUTE_US, 20)  # one a second


@dataclass(frozen=True)
class Asked:
    """A request that reserves, and after a while settles what it really used (None: never)."""

    gap_us: int
    reserved: int
    actual: int | None
    settled_after_us: int


seconds = st.integers(0, 12).map(lambda s: s * SECOND_US)
requests = st.lists(
    st.builds(
        Asked,
        gap_us=st.just(0) | st.just(SECOND_US) | st.integers(0, 8 * SECOND_US),
        reserved=st.integers(1, 20),
        actual=st.just(0) | st.just(0) | st.none() | st.integers(0, 25),
        settled_after_us=seconds | st.integers(0, 30 * SECOND_US),
    ),
    min_size=3,
    max_size=30,
)


DRAINED = [
    Asked(0, 10, 0, 9 * SECOND_US),  # all but one second's worth has drained when it is settled
    Asked(9 * SECOND_US - 1, 18, None, 0),
    Asked(1, 9, None, 0),
]


@settings(deadline=None, max_examples=300)
@given(requests)
@example(DRAINED)
def test_no_window_uses_more_than_quota_times_window_plus_burst_plus_underestimates(
    asked: list[Asked],
) -> None:
    """Settlement may come at any time and in any order."""
    used = asyncio.run(_admitted(asked))
    for first in range(len(used)):
        for last in range(first, len(used)):
            window_us = used[last][0] - used[first][0]
            inside = used[first : last + 1]
            total = sum(actual for _, actual, _ in inside)
            under = sum(max(0, actual - reserved) for _, actual, reserved in inside)
            assert (total - under - QUOTA.burst) * QUOTA.period_us <= QUOTA.limit * window_us


async def _admitted(asked: list[Asked]) -> list[tuple[int, int, int]]:
    """(instant, really used, reserved) of what passes."""
    store, now_us, passed = MemoryStore(), NOW_US, []
    due: list[tuple[int, Settlement]] = []
    for number, one in enumerate(asked):
        now_us += one.gap_us
        for at_us, settlement in sorted(due, key=lambda pair: pair[0]):
            if at_us <= now_us:
                await store.settle(settlement)
        due = [pair for pair in due if pair[0] > now_us]
        step = gcra(quota=QUOTA, cost=one.reserved)
        reply = await store.charge(charge(step, now_us=now_us))
        if not reply.applied:
            continue
        actual = one.reserved if one.actual is None else one.actual
        passed.append((now_us, actual, one.reserved))
        correction = Correction(
            *(step.tag, step.field, step.kind, step.effect),
            increment_us(actual, QUOTA) - step.amount,
            reply.results[0].level,
            step.ttl_us,
        )
        at_us = now_us + one.settled_after_us
        due.append((at_us, Settlement(f"l-{number}", (correction,), at_us)))
    return passed


async def test_idle_accounts_leave_nothing_behind() -> None:
    store = MemoryStore()
    for n in range(2 * memory.SWEEP_EVERY):
        steps = gcra(tag=f"a:{n}", quota=QUOTA), lease(tag=f"a:{n}", ttl_us=MINUTE_US)
        await store.charge(charge(*steps, now_us=NOW_US + n * SECOND_US))
    kept = 2 * MINUTE_US // SECOND_US + memory.SWEEP_EVERY
    assert len(store._counters) <= kept
    assert len(store._leases) <= kept


async def test_a_counter_lives_until_its_debt_has_drained_however_short_its_ttl() -> None:
    store = MemoryStore()
    step = gcra(quota=QUOTA)
    reply = await store.charge(charge(step))
    debt = Correction(
        *(step.tag, step.field, step.kind, step.effect),
        *(60 * MINUTE_US, reply.results[0].level, 0),
    )
    await store.settle(Settlement("l", (debt,), NOW_US))
    later = NOW_US + 59 * MINUTE_US
    assert not (await store.charge(charge(step, now_us=later))).applied
    assert (await store.charge(charge(look(step), now_us=later))).results[0].level > later


# ── adopted accounts ─────────────────────────────────────────────────────────────────────────

MONTH_US = 30 * 86_400 * SECOND_US  # what a request prolongs an adopted account to
ADOPTED = Subject("key_1", status=Status.ADOPTED)


async def test_an_adopted_account_lapses_unless_it_is_seen_or_written() -> None:
    now_us = NOW_US
    store = MemoryStore(lambda: now_us)
    for name in ("a", "b", "c"):
        await store.adopt(name, replace(ADOPTED, account_id=f"key_{name}"), ttl_us=MINUTE_US)
    assert await store.resolve("a") is not None
    await store.put(replace(ADOPTED, account_id="key_b"), None)
    now_us += MINUTE_US
    assert [one.account_id async for one in store.accounts()] == ["key_a", "key_b"]
    assert await store.resolve("c") is None
    now_us += MONTH_US
    assert [one.account_id async for one in store.accounts()] == ["key_b"]


async def test_what_has_lapsed_is_swept_up_and_a_snapshot_knows_what_will() -> None:
    now_us = NOW_US
    store, copy = MemoryStore(lambda: now_us), MemoryStore(lambda: now_us)
    await store.adopt("a", ADOPTED, ttl_us=MINUTE_US)
    copy.restore(msgspec.convert(msgspec.to_builtins(store.snapshot()), MemoryState))
    now_us += MINUTE_US
    for one in (store, copy):
        one._sweep(now_us)
        assert (one._subjects, one._owners, one._keys, one._lapses_us) == ({}, {}, {}, {})
