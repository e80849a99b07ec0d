"""What every store promises of charging and settling, on every store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.window import SIGHTING, see
from gateway.model import (
    SECOND_US,
    ChargeReply,
    Effect,
    Quota,
    Settlement,
    Sighting,
    StepResult,
)
from tests.stores.steps import (
    MINUTE_US,
    NOW_US,
    charge,
    correction,
    gcra,
    lease,
)

from .conftest import AnyStore, level_of

DAY_US = 86_400 * SECOND_US
ODD_NAMES = ["", "~", ":", "{a:acc_2}", "two\nlines", "Zoë 💧", "x" * 5000, "a:b:c", "\udcff"]


def verdicts(reply: ChargeReply) -> list[bool]:
    return [result.allowed for result in reply.results]


# ── charging ─────────────────────────────────────────────────────────────────────────────────


async def test_the_burst_passes_and_the_next_is_refused(store: AnyStore) -> None:
    replies = [await store.charge(charge(gcra())) for _ in range(11)]
    assert [reply.applied for reply in replies] == [True] * 10 + [False]
    assert replies[9].results[0].level == NOW_US + 10 * gcra().amount
    assert replies[10].results[0].level == replies[9].results[0].level


async def test_a_turn_of_concurrent_charges_admits_exactly_the_burst(store: AnyStore) -> None:
    replies = await asyncio.gather(*(store.charge(charge(gcra())) for _ in range(200)))
    assert sum(reply.applied for reply in replies) == 10


async def test_what_was_charged_drains_with_time(store: AnyStore) -> None:
    step = gcra(cost=10)
    assert (await store.charge(charge(step))).applied
    soon, later = NOW_US + 359 * SECOND_US, NOW_US + 360 * SECOND_US
    assert not (await store.charge(charge(gcra(), now_us=soon))).applied
    assert (await store.charge(charge(gcra(), now_us=later))).applied


async def test_without_an_instant_the_stores_clock_counts(store: AnyStore) -> None:
    first = await store.charge(charge(gcra(cost=10), now_us=None))
    second = await store.charge(charge(gcra(), now_us=None))
    assert first.applied
    assert not second.applied
    assert second.now_us >= first.now_us > NOW_US - 10 * 365 * DAY_US


async def test_a_charge_of_nothing_passes_and_tells_the_time(store: AnyStore) -> None:
    reply = await store.charge(charge(now_us=None))
    assert (reply.applied, reply.is_stale, reply.results) == (True, False, ())
    assert reply.now_us > NOW_US - 10 * 365 * DAY_US


@pytest.mark.parametrize("tag", ["a:acc_1", "o:org_1", "n:network", "g:rpm:3"])
async def test_a_refusal_elsewhere_charges_no_neighbour(store: AnyStore, tag: str) -> None:
    full = gcra("full", tag=tag)
    neighbours = [gcra("rpm", tag=t) for t in ("a:acc_1", "o:org_1", "n:network", "c:farm")]
    held = lease(tag="c:farm")
    await store.charge(charge(gcra("full", tag=tag, cost=10)))
    reply = await store.charge(charge(*neighbours, held, full))
    assert not reply.applied
    assert verdicts(reply) == [True] * 5 + [False]
    for neighbour in neighbours:
        assert await level_of(store, neighbour) <= NOW_US
    assert await level_of(store, held) == 0


async def test_an_applied_charge_counts_on_every_tag(store: AnyStore) -> None:
    steps = [gcra(tag=t) for t in ("a:acc_1", "o:org_1", "n:network", "g:rpm:3")]
    reply = await store.charge(charge(*steps))
    assert reply.applied
    assert [await level_of(store, step) for step in steps] == [r.level for r in reply.results]
    assert {r.level - NOW_US for r in reply.results} == {steps[0].amount}


async def test_a_cost_above_the_burst_never_passes_and_costs_nothing(store: AnyStore) -> None:
    reply = await store.charge(charge(gcra(cost=11)))
    assert not reply.applied
    assert await level_of(store, gcra()) == 0


async def test_a_period_that_is_no_multiple_of_the_limit_never_admits_more(
    store: AnyStore,
) -> None:
    quota = Quota(7, MINUTE_US, 7)
    passed = sum(
        [
            (await store.charge(charge(gcra(quota=quota), now_us=NOW_US + t * SECOND_US))).applied
            for t in range(120)
        ]
    )
    assert 19 <= passed <= 7 + 2 * 7


async def test_looking_changes_nothing(store: AnyStore) -> None:
    await store.charge(charge(gcra(cost=4), lease(count=1)))
    looks = [replace(step, effect=Effect.LOOK) for step in (gcra(cost=7), gcra(cost=6), lease())]
    for _ in range(3):
        reply = await store.charge(charge(*looks))
        assert verdicts(reply) == [False, True, True]
        assert reply.applied
    assert await level_of(store, gcra()) == NOW_US + gcra(cost=4).amount
    assert await level_of(store, lease()) == 1


async def test_fields_of_one_limit_are_counted_apart(store: AnyStore) -> None:
    await store.charge(charge(gcra("rpm:model-a", cost=10)))
    assert not (await store.charge(charge(gcra("rpm:model-a")))).applied
    assert (await store.charge(charge(gcra("rpm:model-b")))).applied


@pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
async def test_any_text_that_a_caller_sends_is_just_a_name(store: AnyStore, name: str) -> None:
    steps = [gcra(f"rpm:{name}"), gcra(tag=f"o:{name}"), lease(f"parallel:{name}")]
    first = await store.charge(charge(*steps))
    second = await store.charge(charge(*steps))
    assert first.applied
    assert second.applied
    assert second.results[0].level == first.results[0].level + steps[0].amount
    assert second.results[2].level == 2
    assert await level_of(store, gcra("rpm:else")) == 0


async def test_callers_cannot_fill_a_store_with_names(store: AnyStore) -> None:
    for n in range(300):
        await store.charge(charge(gcra(f"rpm:model-{n}", cost=10)))
    over = [await store.charge(charge(gcra(f"rpm:{n}"))) for n in range(3)]
    assert not any(reply.applied for reply in over)
    assert (await store.charge(charge(gcra("tpm:1")))).applied


async def test_names_that_have_drained_make_room_for_new_ones(store: AnyStore) -> None:
    for n in range(300):
        await store.charge(charge(gcra(f"rpm:model-{n}", cost=10)))
    later = NOW_US + 3600 * SECOND_US
    replies = [
        await store.charge(charge(gcra(f"rpm:new-{n}", cost=10), now_us=later)) for n in range(200)
    ]
    assert all(reply.applied for reply in replies)


async def test_a_full_set_of_names_is_looked_through_once_a_second(store: AnyStore) -> None:
    fast = Quota(1, SECOND_US // 2, 1)  # drains in half a second
    await store.charge(charge(gcra("rpm:fast", quota=fast)))
    for n in range(300):
        await store.charge(charge(gcra(f"rpm:model-{n}", cost=10)))
    for after_us, passes in ((0, False), (SECOND_US // 2, False), (SECOND_US, True)):
        reply = await store.charge(charge(gcra("rpm:new"), now_us=NOW_US + after_us))
        assert reply.applied is passes


async def test_settling_cannot_fill_a_store_with_names_either(store: AnyStore) -> None:
    for n in range(256):
        await store.charge(charge(gcra(f"rpm:model-{n}", cost=10)))
    debt = correction(gcra("rpm:forgotten"), StepResult(True, NOW_US), MINUTE_US)
    await store.settle(Settlement("x", (debt,), NOW_US))
    assert await level_of(store, gcra("rpm:other")) == NOW_US + MINUTE_US


# ── shadow ───────────────────────────────────────────────────────────────────────────────────


async def test_a_shadow_step_never_refuses_and_is_never_refused_for(store: AnyStore) -> None:
    shadow = gcra("shy", cost=6, effect=Effect.SHADOW)
    first = await store.charge(charge(shadow, gcra(cost=6)))
    second = await store.charge(charge(shadow, gcra(cost=4)))
    third = await store.charge(charge(replace(shadow, field="shy2"), gcra()))
    assert [first.applied, second.applied, third.applied] == [True, True, False]
    assert verdicts(second) == [False, True]
    assert verdicts(third) == [True, False]
    assert await level_of(store, replace(shadow, field="shy2")) == NOW_US + shadow.amount


async def test_shadow_counts_in_a_namespace_of_its_own(store: AnyStore) -> None:
    shadow, shadow_lease = gcra(cost=10, effect=Effect.SHADOW), lease(effect=Effect.SHADOW, count=2)
    await store.charge(charge(shadow, shadow_lease))
    assert await level_of(store, gcra()) == 0
    assert (await store.charge(charge(gcra(cost=10), lease(count=2)))).applied
    assert await level_of(store, shadow_lease) == 2


# ── leases ───────────────────────────────────────────────────────────────────────────────────


async def test_no_more_leases_are_held_than_allowed(store: AnyStore) -> None:
    replies = [await store.charge(charge(lease())) for _ in range(3)]
    assert [(r.applied, r.results[0].level) for r in replies] == [(True, 1), (True, 2), (False, 2)]


async def test_a_freed_lease_can_be_held_again_and_freeing_twice_frees_once(
    store: AnyStore,
) -> None:
    one = await store.charge(charge(lease(), lease_id="one"))
    await store.charge(charge(lease(), lease_id="two"))
    freed = Settlement("one", (correction(lease(), one.results[0], 1),), NOW_US)
    await store.settle(freed)
    await store.settle(freed)
    assert await level_of(store, lease()) == 1


async def test_several_leases_of_one_batch_are_held_and_freed_together(store: AnyStore) -> None:
    step = lease(most=5, count=3)
    held = await store.charge(charge(step, lease_id="batch"))
    assert held.results[0].level == 3
    assert not (await store.charge(charge(step))).applied
    await store.settle(Settlement("batch", (correction(step, held.results[0], 3),), NOW_US))
    assert await level_of(store, step) == 0


async def test_the_leases_of_a_killed_client_lapse(store: AnyStore) -> None:
    step = lease(most=1, ttl_us=MINUTE_US)
    assert (await store.charge(charge(step))).applied
    assert not (await store.charge(charge(step, now_us=NOW_US + MINUTE_US - 1))).applied
    assert (await store.charge(charge(step, now_us=NOW_US + MINUTE_US))).applied


# ── settling ─────────────────────────────────────────────────────────────────────────────────


async def test_a_credit_gives_back_what_has_not_drained(store: AnyStore) -> None:
    step = gcra(cost=10)
    reply = await store.charge(charge(step))
    half_drained = NOW_US + step.amount // 2
    credit = correction(step, reply.results[0], -step.amount)
    await store.settle(Settlement("x", (credit,), half_drained))
    assert await level_of(store, step, half_drained) == half_drained


async def test_a_credit_leaves_later_reservations_alone(store: AnyStore) -> None:
    """Half of the first has drained when it is settled: the other half is all there is to give."""
    first = await store.charge(charge(gcra(cost=4)))
    half_drained = NOW_US + gcra(cost=2).amount
    second = await store.charge(charge(gcra(cost=6), now_us=half_drained))
    credit = correction(gcra(), first.results[0], -gcra(cost=4).amount)
    await store.settle(Settlement("x", (credit,), half_drained))
    left = second.results[0].level - gcra(cost=2).amount
    assert await level_of(store, gcra(), half_drained) == left


async def test_no_credit_moves_a_counter_before_now(store: AnyStore) -> None:
    reply = await store.charge(charge(gcra(cost=10)))
    credit = correction(gcra(), reply.results[0], -gcra(cost=10).amount)
    for _ in range(2):
        await store.settle(Settlement("x", (credit,), NOW_US))
        assert await level_of(store, gcra()) == NOW_US


async def test_a_credit_for_what_has_drained_changes_nothing(store: AnyStore) -> None:
    step = gcra()
    first = await store.charge(charge(step))
    later = NOW_US + step.amount
    second = await store.charge(charge(gcra(cost=10), now_us=later))
    credit = correction(step, first.results[0], -step.amount)
    await store.settle(Settlement("x", (credit,), later))
    assert await level_of(store, step, later) == second.results[0].level


async def test_a_debit_has_no_limit(store: AnyStore) -> None:
    step = gcra()
    reply = await store.charge(charge(step))
    debt = 100 * step.amount
    await store.settle(Settlement("x", (correction(step, reply.results[0], debt),), NOW_US))
    assert await level_of(store, step) == reply.results[0].level + debt


async def test_a_settlement_that_nobody_waits_for_arrives(store: AnyStore) -> None:
    held = await store.charge(charge(lease(), gcra(cost=10), lease_id="one"))
    corrections = (
        correction(lease(), held.results[0], 1),
        correction(gcra(), held.results[1], -gcra(cost=10).amount),
    )
    store.settle_soon(Settlement("one", corrections, NOW_US))
    for _ in range(200):
        if await level_of(store, lease()) == 0:
            break
        await asyncio.sleep(0.005)
    assert await level_of(store, lease()) == 0
    assert await level_of(store, gcra()) == NOW_US


async def test_settling_reaches_every_tag_and_leaves_the_shadow_apart(store: AnyStore) -> None:
    steps = [gcra(tag=t, cost=5) for t in ("a:acc_1", "o:org_1", "n:network")]
    shadow = gcra(cost=5, effect=Effect.SHADOW)
    reply = await store.charge(charge(*steps, shadow))
    settled = tuple(
        correction(step, result, -step.amount)
        for step, result in zip(steps, reply.results, strict=False)
    )
    await store.settle(Settlement("x", settled, NOW_US))
    assert [await level_of(store, step) for step in steps] == [NOW_US] * 3
    assert await level_of(store, shadow) == NOW_US + shadow.amount


# ── windows ──────────────────────────────────────────────────────────────────────────────────


async def test_a_window_is_counted_beside_corrections_of_other_accounts_and_tags(
    store: AnyStore,
) -> None:
    """On a Cluster they lie on other nodes."""
    packed = SIGHTING.pack(NOW_US // SECOND_US, 1, 10, 20, 0, *[1] * 7, 7, 0)
    expected = see(None, packed, NOW_US // SECOND_US)
    for name in ("acc_1", "acc_2", "acc_3"):
        steps = [gcra(tag=f"a:{name}"), gcra(tag="o:org_1"), gcra("all", tag="g:all:0")]
        reply = await store.charge(charge(*steps))
        given_back = [
            correction(step, result, -step.amount)
            for step, result in zip(steps, reply.results, strict=True)
        ]
        sighting = Sighting(name, packed)
        await store.settle(Settlement("x", tuple(given_back), NOW_US, sighting))
        assert store.window(name) == expected
        assert await level_of(store, steps[1]) <= NOW_US
    await store.settle(Settlement("y", (), NOW_US, Sighting("acc_4", packed, is_asked=False)))
    await store.fetch_window("acc_4")
    assert store.window("acc_4") == expected


# ── the kill switch ──────────────────────────────────────────────────────────────────────────


async def test_the_kill_switch_holds_with_the_next_charge(store: AnyStore) -> None:
    assert not (await store.charge(charge(gcra()))).shadow_all
    await store.set_shadow_all(True)
    assert (await store.charge(charge(gcra()))).shadow_all
    assert await store.is_shadow_all()
    stale = await store.charge(charge(account_id="nobody", version=1))
    assert stale.is_stale
    assert stale.shadow_all
    await store.set_shadow_all(False)
    assert not (await store.charge(charge(gcra()))).shadow_all
