"""How much of a campaign got through, and from when on hardly any did.

*served*: exchanges served over all its exchanges, from its first. *containment*: the first hour
after which every later 24-hour window serves under 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tally import HOUR_S, OFFERED, SERVED, WOULD_SERVE, Tally

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
WINDOW_H = 24
CONTAINED_BELOW = 0.05


@dataclass(frozen=True, slots=True)
class Curve:
    """A group's exchanges by bin, from its first to its last; the first begins at `start_s`."""

    bin_s: int
    start_s: float
    offered: Ints
    served: Ints
    would_serve: Ints

    @property
    def served_share(self) -> float | None:
        """0 to 1; None without exchanges."""
        return share(int(self.served.sum()), int(self.offered.sum()))

    @property
    def would_serve_share(self) -> float | None:
        """The same if everything in shadow were enforced (refusals changing nothing else)."""
        return share(int(self.would_serve.sum()), int(self.offered.sum()))


def share(part: int, whole: int) -> float | None:
    """None of nothing."""
    return part / whole if whole else None


def curve(tally: Tally, group: int) -> Curve | None:
    """None for a group without exchanges."""
    bins = [bin_ for bin_, counts in tally.by_bin.items() if counts[group, OFFERED]]
    if not bins:
        return None
    first, last = min(bins), max(bins)
    rows = np.zeros((last - first + 1, 3), np.int64)
    for bin_ in bins:
        rows[bin_ - first] = tally.by_bin[bin_][group]
    return Curve(
        tally.bin_s,
        float(first * tally.bin_s),
        rows[:, OFFERED],
        rows[:, SERVED],
        rows[:, WOULD_SERVE],
    )


@dataclass(frozen=True, slots=True)
class Containment:
    """`after_h`: hours from the campaign's first; None where it was not contained.

    `is_measurable` is False for a campaign shorter than one window: nothing can be said.
    """

    after_h: int | None
    is_measurable: bool


def contained(found: Curve) -> Containment:
    """Of a curve; one in bins of less than an hour is shorter than a day."""
    if found.bin_s != HOUR_S:
        return Containment(None, is_measurable=False)
    return containment(found.offered, found.served)


def containment(offered: Ints, served: Ints) -> Containment:
    """By whole hours, over windows that lie inside the campaign.

    A window without exchanges serves nothing. The last full window counts: a campaign that gets
    through on its last day was not contained, however long it had been quiet.
    """
    if len(offered) < WINDOW_H:
        return Containment(None, is_measurable=False)
    shares = window_shares(offered, served)
    leaking = np.flatnonzero(shares >= CONTAINED_BELOW)
    after = int(leaking[-1]) + 1 if leaking.size else 0
    return Containment(after if after < len(shares) else None, is_measurable=True)


def window_shares(offered: Ints, served: Ints) -> Floats:
    """The share served in each window of 24 hours that begins at an hour and ends inside."""
    ones = np.ones(WINDOW_H, np.int64)
    in_window = np.convolve(offered, ones, mode="valid")
    got = np.convolve(served, ones, mode="valid")
    shares: Floats = np.divide(got, in_window, out=np.zeros(len(got)), where=in_window > 0)
    return shares
