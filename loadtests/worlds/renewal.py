"""Renewal processes of many accounts at once, on clocks that run at a changing rate.

Law: over any window the expected number of arrivals is the account's `work` in it, whatever the
gaps' shape: the first gap is drawn from the equilibrium distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# An hour's own factor holds for three hours: in the traces neighbouring hours correlate at 0.7.
NOISE_BLOCK_H = 3
_NORMAL = NormalDist()
_SCORES = np.array([_NORMAL.inv_cdf((i + 0.5) / 1024) for i in range(1024)])


@dataclass(frozen=True, slots=True)
class Gaps:
    """The gaps of many accounts: shape parameter, and Weibull or else Gamma. Drawn with mean 1."""

    shapes: Floats
    weibull: NDArray[np.bool_]
    scales: Floats

    @classmethod
    def of(cls, shapes: Floats, weibull: NDArray[np.bool_]) -> Gaps:
        """Shapes are above 0; each is scaled to a mean of 1."""
        scales = [
            1 / math.gamma(1 + 1 / k) if is_weibull else 1 / k
            for k, is_weibull in zip(shapes.tolist(), weibull.tolist(), strict=True)
        ]
        return cls(shapes, weibull, np.array(scales))

    def draw(self, rng: np.random.Generator, who: Ints) -> Floats:
        """One gap for each account in `who`."""
        shapes, weibull = self.shapes[who], self.weibull[who]
        result = np.empty(len(who))
        result[~weibull] = rng.standard_gamma(shapes[~weibull])
        result[weibull] = rng.weibull(shapes[weibull])
        return result * self.scales[who]

    def draw_first(self, rng: np.random.Generator) -> Floats:
        """For each account the time from any moment to its first arrival after it.

        That is uniform times a length-biased gap. Length-biased, a Gamma(k) gap is Gamma(k + 1)
        and the k-th power of a Weibull(k) gap is Gamma(1 + 1/k).
        Source: Cox, Renewal Theory (1962), chapter 5.
        """
        gamma, k = self.shapes[~self.weibull], self.shapes[self.weibull]
        result = np.empty(len(self.shapes))
        result[~self.weibull] = rng.standard_gamma(gamma + 1)
        result[self.weibull] = rng.standard_gamma(1 + 1 / k) ** (1 / k)
        return result * self.scales * rng.random(len(self.shapes))


def arrivals(
    rng: np.random.Generator, gaps: Gaps, *, work: Floats, edges: Floats
) -> tuple[Ints, Floats]:
    """(account, time) of every arrival, by account, then by time.

    `work` holds the expected arrivals, a row an account and a column an interval of `edges`.
    """
    cumulated = np.concatenate((np.zeros((len(work), 1)), np.cumsum(work, axis=1)), axis=1)
    owners, at = renewals(rng, gaps, totals=cumulated[:, -1])
    return owners, _to_clock(owners, at, cumulated, edges)


def renewals(rng: np.random.Generator, gaps: Gaps, *, totals: Floats) -> tuple[Ints, Floats]:
    """Stationary renewal processes with mean gap 1 on [0, total): (account, position)."""
    position = gaps.draw_first(rng)
    alive = np.flatnonzero(position < totals)
    owners, at = [alive], [position[alive]]
    while alive.size:
        # What is left to do, and a little more for luck.
        counts = np.ceil((totals[alive] - position[alive]) * 1.1 + 2).astype(np.int64)
        who = np.repeat(alive, counts)
        reached = position[who] + _cumulated_within(gaps.draw(rng, who), counts)
        position[alive] = reached[np.cumsum(counts) - 1]
        inside = reached < totals[who]
        owners.append(who[inside])
        at.append(reached[inside])
        alive = alive[position[alive] < totals[alive]]
    owner, place = np.concatenate(owners), np.concatenate(at)
    order = np.lexsort((place, owner))
    return owner[order], place[order]


def hour_factors(seeds: NDArray[np.uint64], sigmas: Floats, hours: Ints) -> Floats:
    """Each hour's own factor: lognormal with mean 1, the same whenever it is asked for.

    A row an account and a column an hour, as `hours`. `sigmas` of 0 give 1.
    """
    blocks = (hours // NOISE_BLOCK_H).astype(np.uint64)
    picked = _mix(seeds[:, None] ^ _mix(blocks)) >> np.uint64(54)
    scores = _SCORES[picked]
    # The table ends at 3.3 sigma; dividing by its own mean keeps the mean at 1.
    grid = np.linspace(0.0, max(2.0, float(sigmas.max(initial=0.0))), 64)
    means = np.interp(sigmas, grid, np.exp(np.outer(grid, _SCORES)).mean(axis=1))
    factors: Floats = np.exp(sigmas[:, None] * scores) / means[:, None]
    return factors


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit reaches every bit.
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _cumulated_within(values: Floats, counts: Ints) -> Floats:
    """Running sums that start anew with each run of `counts` values."""
    sums = np.cumsum(values)
    ends = np.cumsum(counts)
    before = np.concatenate(([0.0], sums[ends[:-1] - 1]))
    result: Floats = sums - np.repeat(before, counts)
    return result


def _to_clock(owners: Ints, at: Floats, cumulated: Floats, edges: Floats) -> Floats:
    """The time at which an account's clock shows `at`."""
    column = _interval_of(owners, at, cumulated)
    low = cumulated[owners, column]
    work = np.maximum(cumulated[owners, column + 1] - low, np.finfo(float).tiny)
    share = np.clip((at - low) / work, 0.0, 1.0)
    times: Floats = edges[column] + share * (edges[column + 1] - edges[column])
    return times


def _interval_of(owners: Ints, at: Floats, cumulated: Floats) -> Ints:
    # One sorted array for all accounts, each shifted past the one before.
    ends = cumulated[:, -1]
    shift = np.concatenate(([0.0], np.cumsum(ends[:-1] + 1)))
    flat = (cumulated + shift[:, None]).ravel()
    found = np.searchsorted(flat, at + shift[owners], side="right") - 1
    width = cumulated.shape[1]
    column: Ints = np.clip(found - owners * width, 0, width - 2)
    return column
