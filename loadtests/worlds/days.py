"""The shape of a day: when, by the local clock, how much of a day's traffic comes.

Times are drawn as if every hour were alike and then bent: a day stays a day, so that nothing has
to be remembered from one to the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DAY_S = 86_400.0
Seconds = NDArray[np.float64]

_HOURLY: dict[str, list[float]] = {
    "office": [1, 1, 1, 1, 1, 2, 4, 9, 16, 19, 19, 17, 12, 16, 19, 18, 16, 12, 7, 4, 3, 3, 2, 1],
    "evening": [3, 2, 1, 1, 1, 1, 2, 3, 5, 6, 6, 7, 8, 7, 7, 8, 9, 10, 12, 15, 17, 16, 11, 6],
    "waking": [3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 12, 12, 11, 12, 13, 12, 12, 11, 10, 10, 10, 9, 7, 5],
    "night": [14, 28, 30, 20, 8, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 6],
    "school": [0, 0, 0, 0, 0, 0, 0, 2, 14, 30, 34, 30, 12, 20, 26, 16, 6, 3, 3, 4, 4, 2, 1, 0],
    "flat": [10] * 24,
    "shifts": [
        8,
        7,
        7,
        7,
        7,
        8,
        9,
        10,
        11,
        12,
        12,
        12,
        11,
        12,
        12,
        12,
        11,
        11,
        10,
        10,
        10,
        9,
        9,
        8,
    ],
}


class DayShape:
    """Bends evenly spread times of one UTC day to the shape, by each caller's own clock."""

    def __init__(self, name: str) -> None:
        weights = np.asarray(_HOURLY[name], dtype=np.float64) + 1e-3
        self._hours = np.arange(25) * 3600.0
        self._done = np.concatenate(([0.0], np.cumsum(weights))) * (DAY_S / weights.sum())

    def bend(self, second_of_day: Seconds, zone_s: Seconds | float) -> Seconds:
        """Seconds 0..86400 of an even day to those of this shape; `zone_s` is local less UTC."""
        local = np.interp(second_of_day, self._done, self._hours)
        return np.asarray((local - zone_s) % DAY_S, dtype=np.float64)


def hours_of(name: str) -> tuple[float, ...]:
    """The shape's relative rate in each local hour, with mean 1."""
    weights = _HOURLY[name]
    mean = sum(weights) / 24
    return tuple(weight / mean for weight in weights)
