"""The laws of `core/gcra.py`, as properties over any sequence of requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import gcra
from gateway.model import SECOND_US, Quota

START_US = 1_800_000_000 * SECOND_US
quotas = st.builds(
    Quota,
    limit=st.integers(1, 50_000_000),
    period_us=st.sampled_from([SECOND_US, 60 * SECOND_US, 3600 * SECOND_US]),
    burst=st.integers(1, 100_000),
).filter(lambda quota: quota.burst * quota.period_us >= quota.limit)
arrivals = st.lists(st.tuples(st.integers(0, 5 * SECOND_US), st.integers(1, 200)), max_size=60)


def admitted(quota: Quota, gaps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(instant, cost) of what passes."""
    tat, now, passed = 0, START_US, []
    for gap, cost in gaps:
        now += gap
        result = gcra.step(tat, now, gcra.increment_us(cost, quota), gcra.tolerance_us(quota))
        if result.allowed:
            tat = result.level
            passed.append((now, cost))
    return passed


@given(quotas, arrivals)
def test_no_window_admits_more_than_quota_times_window_plus_burst(
    quota: Quota, gaps: list[tuple[int, int]]
) -> None:
    passed = admitted(quota, gaps)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            window_us = passed[last][0] - passed[first][0]
            total = sum(cost for _, cost in passed[first : last + 1])
            assert (
                total * quota.period_us <= quota.limit * window_us + quota.burst * quota.period_us
            )


@given(quotas)
def test_one_unit_always_passes_a_key_never_seen(quota: Quota) -> None:
    one_us = gcra.increment_us(1, quota)
    assert gcra.step(0, START_US, one_us, gcra.tolerance_us(quota)).allowed


@given(quotas, st.integers(0, 10 * SECOND_US), st.integers(1, 200_000))
def test_refusing_twice_equals_refusing_once(quota: Quota, ahead_us: int, cost: int) -> None:
    tat = START_US + ahead_us
    amount, tolerance = gcra.increment_us(cost, quota), gcra.tolerance_us(quota)
    first = gcra.step(tat, START_US, amount, tolerance)
    if not first.allowed:
        assert first.level == tat
        assert gcra.step(first.level, START_US, amount, tolerance) == first


@given(quotas, st.integers(1, 1000), arrivals)
def test_raising_a_quota_never_refuses_the_next_request(
    quota: Quota, factor: int, gaps: list[tuple[int, int]]
) -> None:
    larger = Quota(quota.limit * factor, quota.period_us, quota.burst * factor)
    for gap, cost in gaps:
        tat = START_US + gap
        small = gcra.step(tat, START_US, gcra.increment_us(cost, quota), gcra.tolerance_us(quota))
        large_tat = START_US + gap // factor
        large = gcra.step(
            large_tat, START_US, gcra.increment_us(cost, larger), gcra.tolerance_us(larger)
        )
        assert large.allowed or not small.allowed


@given(quotas, st.integers(0, 10 * SECOND_US), st.integers(1, 10_000))
def test_waiting_as_told_is_long_enough_and_no_longer(
    quota: Quota, ahead_us: int, cost: int
) -> None:
    tat = START_US + ahead_us
    amount, tolerance = gcra.increment_us(cost, quota), gcra.tolerance_us(quota)
    wait_us = gcra.retry_after_us(tat, START_US, amount, tolerance)
    if wait_us < 0:
        assert not gcra.step(0, START_US, amount, tolerance).allowed
        return
    assert gcra.step(tat, START_US + wait_us, amount, tolerance).allowed
    if wait_us > 0:
        assert not gcra.step(tat, START_US + wait_us - 1, amount, tolerance).allowed


@given(
    st.integers(0, 20 * SECOND_US),
    st.integers(0, 20 * SECOND_US),
    st.integers(-20 * SECOND_US, 20 * SECOND_US),
)
def test_a_credit_never_exceeds_what_has_not_drained(
    ahead_us: int, reserved_ahead_us: int, delta_us: int
) -> None:
    tat, level = START_US + ahead_us, START_US + reserved_ahead_us
    corrected = gcra.correct(tat, START_US, delta_us, level)
    if delta_us < 0:
        assert tat - corrected <= max(0, level - START_US)
        assert corrected >= min(tat, START_US)
    else:
        assert corrected == max(tat, START_US) + delta_us


@given(quotas, st.integers(-60 * SECOND_US, 600 * SECOND_US))
def test_remaining_is_what_would_pass_at_once(quota: Quota, ahead_us: int) -> None:
    tat = START_US + ahead_us
    left = gcra.remaining(tat, START_US, quota)
    tolerance = gcra.tolerance_us(quota)
    assert 0 <= left <= quota.burst
    more = gcra.step(tat, START_US, gcra.increment_us(left + 2, quota), tolerance)
    assert not more.allowed


@pytest.mark.parametrize(
    ("cost", "quota", "expected_us"),
    [
        pytest.param(1, Quota(40_000_000, 60 * SECOND_US, 1), 2, id="40M a minute rounds up"),
        pytest.param(1000, Quota(40_000_000, 60 * SECOND_US, 1), 1500, id="multiplied first"),
        pytest.param(0, Quota(10, SECOND_US, 1), 0, id="a cost of 0 only looks"),
    ],
)
def test_increment_multiplies_before_dividing(cost: int, quota: Quota, expected_us: int) -> None:
    assert gcra.increment_us(cost, quota) == expected_us
