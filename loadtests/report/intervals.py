"""Confidence intervals of shares, at 95 %."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

Z = 1.959963984540054
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Interval:
    """A share and its bounds, 0 to 1."""

    share: float
    low: float
    high: float


def clopper_pearson(hits: int, trials: int) -> Interval | None:
    """Exact: covers at least 95 %, whatever the share. For accounts, which are drawn one by one.

    None without trials. Source: Clopper and Pearson, Biometrika 26 (1934).
    """
    _demand_counts(hits, trials)
    if trials == 0:
        return None
    low = float(beta.ppf(ALPHA / 2, hits, trials - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - ALPHA / 2, hits + 1, trials - hits)) if hits < trials else 1.0
    return Interval(hits / trials, low, high)


def wilson(hits: int, trials: int) -> Interval | None:
    """By inverting the score test: narrower than exact, right on average. None without trials.

    Source: Wilson, Journal of the American Statistical Association 22 (1927).
    """
    _demand_counts(hits, trials)
    if trials == 0:
        return None
    share = hits / trials
    weight = 1 + Z * Z / trials
    centre = (share + Z * Z / (2 * trials)) / weight
    half = Z / weight * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def by_account(hits: NDArray[np.int64], trials: NDArray[np.int64]) -> Interval | None:
    """A share of exchanges, with bounds that know that one account's exchanges go together.

    `hits` and `trials` by account. The ratio's linearised variance over accounts; None for under
    two accounts with exchanges, or where no exchange was hit or every one (no variance is seen).
    Source: Cochran, Sampling Techniques (1977), section 6.
    """
    some = trials > 0
    counts, total, count = hits[some], int(trials.sum()), int(some.sum())
    share = int(counts.sum()) / total if total else 0.0
    if count < 2 or share in (0.0, 1.0):
        return None
    residuals = counts - share * trials[some]
    error = math.sqrt(float((residuals**2).sum()) * count / (count - 1)) / total
    return Interval(share, max(0.0, share - Z * error), min(1.0, share + Z * error))


def _demand_counts(hits: int, trials: int) -> None:
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits of {trials} trials is not a share")
