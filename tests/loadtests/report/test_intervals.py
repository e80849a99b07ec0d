"""Intervals, held against scipy and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from gateway.loadtests.report import intervals

CASES = [(0, 10), (1, 10), (5, 10), (10, 10), (3, 1000), (0, 200_000), (199_990, 200_000)]


@pytest.mark.parametrize(("hits", "trials"), CASES)
def test_clopper_pearson_is_scipys_exact_interval(hits: int, trials: int) -> None:
    ours = intervals.clopper_pearson(hits, trials)
    theirs = binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours.share == hits / trials


@pytest.mark.parametrize(("hits", "trials"), CASES)
def test_wilson_is_scipys(hits: int, trials: int) -> None:
    ours = intervals.wilson(hits, trials)
    theirs = binomtest(hits, trials).proportion_ci(0.95, method="wilson")
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@pytest.mark.parametrize("interval", [intervals.wilson, intervals.clopper_pearson])
def test_nothing_tried_says_nothing(interval: type[object]) -> None:
    assert interval(0, 0) is None  # type: ignore[call-arg]


def test_more_hits_than_trials_is_no_share() -> None:
    with pytest.raises(ValueError, match="3 hits of 2 trials"):
        intervals.wilson(3, 2)


def test_exchanges_of_one_account_count_together() -> None:
    """A hundred accounts of a thousand exchanges each, all of an account refused or none."""
    trials = np.full(100, 1000)
    hits = np.where(np.arange(100) < 10, 1000, 0)
    found, alone = intervals.by_account(hits, trials), intervals.wilson(10, 100)
    naive = intervals.wilson(10_000, 100_000)
    assert found is not None
    assert alone is not None
    assert naive is not None
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert found.high - found.low > 20 * (naive.high - naive.low)


def test_the_interval_of_exchanges_covers_the_truth_nineteen_times_of_twenty() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        trials = rng.geometric(0.02, 300)
        hits = rng.binomial(trials, rng.beta(0.6, 5.4, 300))
        found = intervals.by_account(hits, trials)
        assert found is not None
        covered += found.low <= 0.1 <= found.high
    assert 0.90 < covered / 400 <= 0.985


@pytest.mark.parametrize(
    ("hits", "trials"),
    [([], []), ([1], [2]), ([0, 0], [5, 5]), ([5, 5], [5, 5]), ([0, 0], [0, 0])],
    ids=["none", "one account", "never", "always", "no exchanges"],
)
def test_where_no_variance_is_seen_none_is_claimed(hits: list[int], trials: list[int]) -> None:
    assert intervals.by_account(np.array(hits, np.int64), np.array(trials, np.int64)) is None
