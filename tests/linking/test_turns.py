"""Who takes turns, and who only keeps fixed minutes or sends as it comes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from gateway.linking.instants import CLOSE_SLOT_US, SLOT_US, Instants
from gateway.linking.turns import LEAST_GROUP, groups_of
from gateway.model import SECOND_US

HOUR_S = 3600.0
Sent = dict[str, list[int]]


def relay(accounts: int, per_day: float, hours: float, seed: int = 1) -> Sent:
    """Requests as they come, each through the next account."""
    rng, at_s, number = Random(seed), 0.0, 0
    sent: Sent = {f"relay_{n}": [] for n in range(accounts)}
    while at_s < hours * HOUR_S:
        sent[f"relay_{number % accounts}"].append(int(at_s * SECOND_US))
        at_s += rng.expovariate(accounts * per_day / 86_400)
        number += 1
    return sent


def strangers(accounts: int, per_day: float, hours: float, seed: int = 2) -> Sent:
    rng = Random(seed)
    sent: Sent = {}
    for n in range(accounts):
        at_s, own = 0.0, []
        while (at_s := at_s + rng.expovariate(per_day / 86_400)) < hours * HOUR_S:
            own.append(int(at_s * SECOND_US))
        sent[f"stranger_{n}"] = own
    return sent


def clocks(accounts: int, hours: int, late_s: float, *, sleeps: bool = False) -> Sent:
    """Hourly jobs, each at a minute of its own, up to `late_s` late; some sleep at night."""
    rng, sent = Random(3), Sent()
    awake = [h for h in range(hours) if not sleeps or h % 24 < 12 or h % 3 == 0]
    for n in range(accounts):
        minute_s = rng.random() * HOUR_S
        sent[f"clock_{n}"] = sorted(
            int((h * HOUR_S + minute_s + rng.random() * late_s) * SECOND_US) for h in awake
        )
    return sent


@pytest.mark.parametrize(("accounts", "per_day", "hours"), [(14, 50, 4), (32, 50, 4), (75, 26, 5)])
def test_a_relay_is_one_group_after_some_turns(accounts: int, per_day: int, hours: int) -> None:
    sent = relay(accounts, per_day, hours)
    assert groups_of(sent) == [sorted(sent)]


def test_the_order_of_accounts_changes_nothing() -> None:
    sent = relay(20, 50, 6) | strangers(60, 20, 6)
    names = sorted(sent)
    Random(5).shuffle(names)
    assert groups_of({name: sent[name] for name in names}) == groups_of(sent)


@pytest.mark.parametrize("seed", range(4))
def test_strangers_take_no_turns(seed: int) -> None:
    assert groups_of(strangers(120, 25, 24, seed)) == []


def test_strangers_who_show_the_same_are_not_taken_for_a_relays() -> None:
    mixed = relay(40, 50, 8) | strangers(40, 20, 8)
    (group,) = groups_of(mixed)
    assert len(group) >= 30
    assert all(name.startswith("relay") for name in group)


@pytest.mark.parametrize("sleeps", [False, True], ids=["all day", "less at night"])
@pytest.mark.parametrize("late_s", [0, 1, 20, 120, 300])
@pytest.mark.parametrize("hours", [5, 24])
def test_jobs_at_fixed_minutes_are_no_relay(hours: int, late_s: float, sleeps: bool) -> None:
    for accounts in (LEAST_GROUP, 30, 100):
        assert groups_of(clocks(accounts, hours, late_s, sleeps=sleeps)) == []


def through_slots(sent: Sent, slot_us: int = SLOT_US) -> Sent:
    """As the linker keeps it: the first request of each slot."""
    kept = Instants(slot_us)
    for name, own in sent.items():
        for at_us in own:
            kept.note(name, at_us)
    return {name: list(kept.of(name)) for name in sent}


def queued(accounts: int, hours: int, seed: int) -> Sent:
    """Hourly jobs of one product's customers, each at its minute, late together by the queue."""
    rng, sent = Random(seed), Sent()
    minutes_s = [rng.random() * HOUR_S for _ in range(accounts)]
    for n in range(accounts):
        sent[f"customer_{n}"] = []
    for hour in range(hours):
        late_s = rng.expovariate(1 / 480)
        for n, minute_s in enumerate(minutes_s):
            at_s = hour * HOUR_S + minute_s + late_s + rng.random() * 30
            sent[f"customer_{n}"].append(int(at_s * SECOND_US))
    return {name: sorted(own) for name, own in sent.items()}


def one_by_one(accounts: int, hours: int, seed: int) -> Sent:
    """Hourly, one worker takes all customers in one order, once the queue lets it begin."""
    rng = Random(seed)
    sent: Sent = {f"customer_{n}": [] for n in range(accounts)}
    for hour in range(hours):
        at_s = hour * HOUR_S + rng.expovariate(1 / 300)
        for own in sent.values():
            at_s += rng.gammavariate(4, 6)
            own.append(int(at_s * SECOND_US))
    return sent


def polling(accounts: int, hours: int, seed: int) -> Sent:
    """Agents that wait seven minutes and look again."""
    rng, sent = Random(seed), Sent()
    for n in range(accounts):
        at_s, own = rng.random() * 420, []
        while at_s < hours * HOUR_S:
            own.append(int(at_s * SECOND_US))
            at_s += 420 + rng.random() * 6
        sent[f"agent_{n}"] = own
    return sent


@pytest.mark.parametrize("jobs", [queued, one_by_one, polling])
@pytest.mark.parametrize("hours", [4, 9, 24])
def test_jobs_that_come_in_one_order_are_no_relay(
    jobs: Callable[[int, int, int], Sent], hours: int
) -> None:
    for accounts in (14, 40):
        for seed in range(3):
            for slot_us in (SLOT_US, CLOSE_SLOT_US):
                assert groups_of(through_slots(jobs(accounts, hours, seed), slot_us)) == []


def every_some_minutes(accounts: int, hours: int, seed: int, every_s: float = 360) -> Sent:
    """One worker takes all customers in seconds, at a period of no dial, when the queue lets it."""
    rng = Random(seed)
    sent: Sent = {f"customer_{n}": [] for n in range(accounts)}
    for period in range(int(hours * HOUR_S / every_s)):
        at_s = period * every_s + rng.expovariate(15 / every_s)
        for own in sent.values():
            at_s += rng.gammavariate(4, 0.6)
            own.append(int(at_s * SECOND_US))
    return sent


@pytest.mark.parametrize("every_s", [120, 312, 360, 1000])
def test_a_worker_that_pauses_after_each_round_is_no_relay(every_s: float) -> None:
    for seed in range(3):
        sent = every_some_minutes(20, 6, seed, every_s)
        assert groups_of(through_slots(sent, CLOSE_SLOT_US)) == []


@pytest.mark.parametrize("seed", range(4))
def test_customers_of_one_worker_are_no_group_with_jobs_of_others(seed: int) -> None:
    """Too few by themselves; by medians of all, whoever sends at minutes of its own went along."""
    few = one_by_one(8, 30, seed)
    mixed = few | clocks(7, 30, 60) | {f"loop_{n}": own for n, own in enumerate(_loops(6, seed))}
    assert groups_of(through_slots(mixed)) == []


def _loops(accounts: int, seed: int) -> list[list[int]]:
    """Hourly, from a minute of its own, which moves on slowly."""
    rng = Random(seed)
    return [
        [int((first_s + hour * (HOUR_S + 20)) * SECOND_US) for hour in range(30)]
        for first_s in (rng.random() * HOUR_S for _ in range(accounts))
    ]


@pytest.mark.parametrize("accounts", [14, 25])
def test_a_hot_relay_is_seen_within_the_hour(accounts: int) -> None:
    """A request of each account in two minutes: slots of ten make a clock of it."""
    sent = relay(accounts, 730, 1)
    assert groups_of(through_slots(sent)) == []
    assert groups_of(through_slots(sent, CLOSE_SLOT_US)) == [sorted(sent)]


def test_a_relay_is_none_of_these_jobs_though_slots_thin_it_out() -> None:
    sent = through_slots(relay(32, 50, 8))
    assert groups_of(sent) == [sorted(sent)]


def test_a_relay_that_draws_lots_is_not_seen() -> None:
    """Known and stated: there is no order to find."""
    assert groups_of(strangers(32, 50, 12)) == []


def test_a_few_accounts_are_no_group() -> None:
    assert groups_of(relay(LEAST_GROUP - 1, 50, 24)) == []
    assert groups_of({}) == []
    assert groups_of({"only": [1, 2, 3]}) == []
