"""What tells an order that jobs keep from one that a relay keeps."""

from __future__ import annotations

from random import Random

from gateway.linking.clocks import adds_up, begins_anew, is_by_the_clock, is_on_a_beat
from gateway.model import SECOND_US

HOUR_US = 3600 * SECOND_US


def test_one_minute_of_every_hour_is_a_clock_and_wandering_is_none() -> None:
    jobs = [[n * 60 * SECOND_US + hour * HOUR_US for hour in range(6)] for n in range(12)]
    wandering = [[int(hour * 1.3 * HOUR_US) for hour in range(6)] for _ in range(12)]
    assert is_by_the_clock(jobs)
    assert not is_by_the_clock(wandering)
    assert not is_by_the_clock([*jobs[:5], *wandering[:7]])  # fewer than half


def test_rounds_that_are_late_as_a_whole_do_not_add_up() -> None:
    rng = Random(1)
    gaps = [[HOUR_US + int(rng.gauss(0, 300) * SECOND_US) for _ in range(8)]] * 12
    fixed = [[300 * SECOND_US + rng.randrange(SECOND_US) for _ in range(8)] for _ in range(12)]
    drawn = [[int(rng.expovariate(1 / 300) * SECOND_US) for _ in range(8)] for _ in range(12)]
    assert not adds_up(fixed, gaps)
    assert adds_up(drawn, gaps)


def test_rounds_that_begin_with_the_same_after_a_pause_begin_anew() -> None:
    minute_us = 60 * SECOND_US
    worker = [[7 * k * minute_us + n * SECOND_US for k in range(8)] for n in range(12)]
    ring = [[(12 * k + n) * minute_us for k in range(8)] for n in range(12)]
    nights = [[at + at // (48 * minute_us) * HOUR_US for at in own] for own in ring]
    anybody = [[(7 * k + (n + 5 * k) % 12 / 12) * minute_us for k in range(8)] for n in range(12)]
    assert begins_anew([[int(at) for at in own] for own in worker])
    assert not begins_anew(ring)
    assert not begins_anew([[int(at) for at in own] for own in nights])
    assert not begins_anew([[int(at) for at in own] for own in anybody])  # another one each time


def test_of_too_little_nothing_is_told() -> None:
    assert not begins_anew([])
    assert not begins_anew([[1], [2]])
    assert not begins_anew([[n, n + HOUR_US] for n in range(12)])  # one pause
    assert adds_up([], [])
    assert adds_up([[1, 2]] * 3, [[5, 6, 7]] * 3)
    assert not is_on_a_beat([])
    assert not is_on_a_beat([[(420, 420)]] * 12)


def test_loops_keep_a_beat_each_its_own() -> None:
    rng = Random(2)

    def gap() -> int:
        return 420 * rng.choice((1, 2)) * SECOND_US

    def late() -> int:
        return rng.randrange(SECOND_US)

    whole = [[gap() for _ in range(10)] for _ in range(12)]
    loops = [[(one + late(), one + late()) for one in row] for row in whole]
    relayed = [[(own, own) for own, _ in row] for row in loops]
    assert is_on_a_beat(loops)
    assert not is_on_a_beat(relayed)
