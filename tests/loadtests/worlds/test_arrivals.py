"""Arrivals: laws that hold whatever was fitted; fitted clients are bursty and unequal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gateway.loadtests.worlds import arrivals, renewal
from gateway.loadtests.worlds.arrivals import DAY_S, HOUR_S, Fleet, Pace

MONDAY_S = 1_776_643_200.0  # Monday 20 April 2026, 0:00 UTC
FLAT = Pace(
    mean_per_day=240.0,
    pattern="gamma",
    gap_shape=1.0,
    hours=(1.0,) * 24,
    weekend=1.0,
    hour_noise=0.0,
    seed=1,
)


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("pattern", ["gamma", "weibull"])
@pytest.mark.parametrize("gap_shape", [0.25, 0.6, 1.0, 3.0])
@pytest.mark.parametrize("window_s", [600.0, HOUR_S, DAY_S])
def test_the_expected_count_holds_in_any_window_for_any_shape(
    pattern: arrivals.Pattern, gap_shape: float, window_s: float
) -> None:
    paces = [replace(FLAT, pattern=pattern, gap_shape=gap_shape)] * 4000
    owners, _ = Fleet(paces).times(rng(), MONDAY_S + 100, MONDAY_S + 100 + window_s)
    counts = np.bincount(owners, minlength=len(paces))
    error = counts.std() / np.sqrt(len(paces))
    assert abs(counts.mean() - 240 * window_s / DAY_S) < 4.5 * error


def test_times_are_sorted_by_account_and_inside_the_window() -> None:
    paces = arrivals.load().clients(500, rng(), mean_per_day=100)
    start, end = MONDAY_S + 1234.5, MONDAY_S + 1234.5 + DAY_S
    owners, times = Fleet(paces).times(rng(), start, end)
    assert times.min() >= start
    assert times.max() < end
    assert np.all(np.diff(owners) >= 0)
    assert np.all(np.diff(times)[np.diff(owners) == 0] >= 0)


def test_one_pace_is_a_fleet_of_one() -> None:
    alone = FLAT.times(rng(), MONDAY_S, MONDAY_S + DAY_S)
    assert np.array_equal(alone, Fleet([FLAT]).times(rng(), MONDAY_S, MONDAY_S + DAY_S)[1])
    assert len(alone) > 100


def test_the_same_seed_gives_the_same_clients_and_times() -> None:
    first, second = (arrivals.load().clients(50, rng(), mean_per_day=30) for _ in range(2))
    assert first == second
    window = (MONDAY_S, MONDAY_S + DAY_S)
    assert np.array_equal(
        Fleet(first).times(rng(3), *window)[1], Fleet(second).times(rng(3), *window)[1]
    )


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 0.0), (10.0, 5.0)], ids=["empty", "reversed"])
def test_an_empty_window_has_no_arrivals(start_s: float, end_s: float) -> None:
    assert FLAT.times(rng(), start_s, end_s).size == 0


def test_no_clients_have_no_arrivals() -> None:
    assert arrivals.load().clients(0, rng(), mean_per_day=1) == []
    assert Fleet([]).times(rng(), 0.0, DAY_S)[1].size == 0


@pytest.mark.parametrize(("count", "per_day"), [(-1, 10.0), (5, 0.0), (5, float("nan"))])
def test_impossible_clients_are_refused(count: int, per_day: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        arrivals.load().clients(count, rng(), mean_per_day=per_day)


def test_the_mean_rate_is_the_one_asked_for_and_the_median_far_below() -> None:
    paces = arrivals.load().clients(5000, rng(), mean_per_day=25.6)
    rates = np.array([pace.mean_per_day for pace in paces])
    assert rates.mean() == pytest.approx(25.6)
    assert np.median(rates) < 25.6 / 4
    assert np.sort(rates)[-500:].sum() > 0.5 * rates.sum()


def test_arrivals_follow_the_local_hour() -> None:
    office = tuple(24 / 8 if 9 <= hour < 17 else 0.0 for hour in range(24))
    pace = replace(FLAT, hours=office, mean_per_day=5000.0).at_utc_offset(5)
    hours = (pace.times(rng(), MONDAY_S, MONDAY_S + 2 * DAY_S) % DAY_S) // HOUR_S
    assert set(hours.astype(int)) == set(range(4, 12))


def test_a_weekend_is_quieter_and_the_week_keeps_its_mean() -> None:
    rates = Fleet([replace(FLAT, weekend=0.25)]).rates_per_s(
        arrivals.hour_edges(MONDAY_S, MONDAY_S + 7 * DAY_S)
    )[0]
    days = rates.reshape(7, 24).mean(axis=1)
    assert days[5:] == pytest.approx(days[0] / 4)
    assert days.mean() == pytest.approx(240 / DAY_S)


def test_an_hour_is_as_busy_whenever_it_is_asked_for() -> None:
    fleet = Fleet([replace(FLAT, hour_noise=1.2)])
    day = fleet.rates_per_s(arrivals.hour_edges(MONDAY_S, MONDAY_S + DAY_S))[0]
    hour = fleet.rates_per_s(arrivals.hour_edges(MONDAY_S + 5 * HOUR_S, MONDAY_S + 6 * HOUR_S))[0]
    assert hour[0] == day[5]
    assert day.std() > 0.3 * day.mean()


def test_hours_of_their_own_average_to_one() -> None:
    seeds = np.arange(400, dtype=np.uint64)
    for sigma in (0.0, 0.5, 1.0):
        factors = renewal.hour_factors(
            seeds, np.full(400, sigma), np.tile(np.arange(720), (400, 1))
        )
        assert factors.mean() == pytest.approx(1.0, rel=0.03)
