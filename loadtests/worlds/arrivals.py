"""When accounts send: heavy-tailed rates, bursty gaps, days and hours as in real traces.

An account is a stationary renewal process with Gamma or Weibull gaps, run on a clock of its own
that goes faster in its busy hours (a day shape, weekends, and hours that are busier or quieter
than usual). The numbers come from `fitted/arrivals.json`, condensed by `fit.py` from ServeGen's
client traces; those begin at 90 requests a day, so that what we draw for smaller accounts is the
same shape at a smaller scale: our extrapolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Literal

import msgspec
import numpy as np

from . import renewal
from .copula import Quantiles, normals

Pattern = Literal["gamma", "weibull"]

HOUR_S = 3600.0
DAY_S = 86_400.0
# Hours of the week count from Monday 0:00; the Unix epoch was a Thursday.
EPOCH_WEEKDAY = 3
SATURDAY = 5


class DayShape(msgspec.Struct, frozen=True):
    """Relative rate in each hour of a local day, with mean 1, and how many clients keep it."""

    weight: float
    hours: tuple[float, ...]


class ArrivalFit(msgspec.Struct, frozen=True):
    """`fitted/arrivals.json`: what `fit.py` found. Logarithms are natural."""

    source: list[str]
    log_rate_sd: float
    weibull_share: float
    gamma_log_shape: Quantiles
    weibull_log_shape: Quantiles
    hour_noise: Quantiles  # standard deviation of log factors
    correlation: list[list[float]]  # of normal scores: rate, gap shape, hour noise
    weekend: float
    day_shapes: list[DayShape]


@dataclass(frozen=True, slots=True)
class Pace:
    """How one account sends.

    `mean_per_day` requests in an average day of a week; `gap_shape` is the shape parameter k of
    the gaps (1 is Poisson, smaller is burstier); `hours` the day shape with mean 1 in local time;
    `weekend` the rate of a Saturday over that of a weekday; `hour_noise` the standard deviation
    of the logarithm of an hour's own factor; `seed` decides which hours those are.
    """

    mean_per_day: float
    pattern: Pattern
    gap_shape: float
    hours: tuple[float, ...]
    weekend: float
    hour_noise: float
    seed: int
    utc_offset_h: float = 0.0

    def times(self, rng: np.random.Generator, start_s: float, end_s: float) -> renewal.Floats:
        """Arrivals in [start_s, end_s), Unix seconds, sorted; empty for an empty window.

        Each call starts in equilibrium: the expected count is right for any window, while a gap
        does not stretch over the boundary of two calls. For many accounts a `Fleet` is cheaper.
        """
        return Fleet([self]).times(rng, start_s, end_s)[1]

    def at_utc_offset(self, hours: float) -> Pace:
        """The same account where local time is UTC plus `hours` (-12 to 14)."""
        return replace(self, utc_offset_h=hours)


class ArrivalModel:
    def __init__(self, fit: ArrivalFit) -> None:
        self.fit = fit
        weights = np.array([shape.weight for shape in fit.day_shapes])
        self._shape_shares = weights / weights.sum()

    def clients(self, count: int, rng: np.random.Generator, *, mean_per_day: float) -> list[Pace]:
        """Draw `count` accounts whose rates have the mean `mean_per_day` exactly, all together."""
        if count < 0 or not mean_per_day > 0:
            raise ValueError(f"count {count} must be >= 0, mean_per_day {mean_per_day} above 0")
        if count == 0:
            return []
        fit = self.fit
        z = normals(rng, np.array(fit.correlation), count)
        rates = np.exp(fit.log_rate_sd * z[0])
        rates *= mean_per_day / rates.mean()
        weibull = rng.random(count) < fit.weibull_share
        shapes = np.exp(
            np.where(weibull, fit.weibull_log_shape.at(z[1]), fit.gamma_log_shape.at(z[1]))
        )
        noise = fit.hour_noise.at(z[2])
        days = rng.choice(len(fit.day_shapes), size=count, p=self._shape_shares)
        seeds = rng.integers(0, 2**63, size=count)
        patterns: tuple[Pattern, Pattern] = ("gamma", "weibull")
        return [
            Pace(
                mean_per_day=rate,
                pattern=patterns[is_weibull],
                gap_shape=shape,
                hours=fit.day_shapes[day].hours,
                weekend=fit.weekend,
                hour_noise=sigma,
                seed=seed,
            )
            for rate, is_weibull, shape, day, sigma, seed in zip(
                rates.tolist(),
                weibull.tolist(),
                shapes.tolist(),
                days.tolist(),
                noise.tolist(),
                seeds.tolist(),
                strict=True,
            )
        ]


class Fleet:
    """Many accounts at once: the same arrivals in distribution, far cheaper than one by one."""

    def __init__(self, paces: Sequence[Pace]) -> None:
        self._hours = np.array([pace.hours for pace in paces]).reshape(len(paces), 24)
        self._offsets_h = np.array([round(pace.utc_offset_h) for pace in paces], np.int64)
        self._weekend = np.array([pace.weekend for pace in paces])
        self._noise = np.array([pace.hour_noise for pace in paces])
        self._seeds = np.array([pace.seed for pace in paces], np.uint64)
        self._per_s = np.array([pace.mean_per_day for pace in paces]) / DAY_S
        self._gaps = renewal.Gaps.of(
            np.array([pace.gap_shape for pace in paces]),
            np.array([pace.pattern == "weibull" for pace in paces], bool),
        )

    def times(
        self, rng: np.random.Generator, start_s: float, end_s: float
    ) -> tuple[renewal.Ints, renewal.Floats]:
        """Arrivals in [start_s, end_s): (index of the account, Unix seconds), by account and time.

        Memory goes with accounts × hours and with arrivals: windows of a day or less suit a
        hundred thousand accounts.
        """
        if not len(self._per_s) or end_s <= start_s:
            return np.empty(0, np.int64), np.empty(0)
        edges = hour_edges(start_s, end_s)
        work = self.rates_per_s(edges) * np.diff(edges)
        return renewal.arrivals(rng, self._gaps, work=work, edges=edges)

    def rates_per_s(self, edges: renewal.Floats) -> renewal.Floats:
        """Expected arrivals a second: a row an account, a column an hour between `edges`."""
        hours_utc = np.floor(edges[:-1] / HOUR_S).astype(np.int64)
        local = hours_utc[None, :] + self._offsets_h[:, None]
        rates: renewal.Floats = np.take_along_axis(self._hours, local % 24, axis=1)
        rates *= _weekend_factors(self._weekend, local // 24)
        rates *= renewal.hour_factors(self._seeds, self._noise, local)
        rates *= self._per_s[:, None]
        return rates


def hour_edges(start_s: float, end_s: float) -> renewal.Floats:
    """`start_s`, every full hour between, `end_s`."""
    first = np.floor(start_s / HOUR_S) + 1
    last = np.ceil(end_s / HOUR_S)
    return np.concatenate(([start_s], np.arange(first, last) * HOUR_S, [end_s]))


def _weekend_factors(weekend: renewal.Floats, days: renewal.Ints) -> renewal.Floats:
    # Five weekdays and two weekend days that average to 1 over the week.
    weekday = 7 / (5 + 2 * weekend)
    is_weekend = (days + EPOCH_WEEKDAY) % 7 >= SATURDAY
    factors: renewal.Floats = np.where(is_weekend, (weekend * weekday)[:, None], weekday[:, None])
    return factors


@cache
def load() -> ArrivalModel:
    """The model from the numbers kept in the repository; needs no trace."""
    raw = resources.files(__package__).joinpath("fitted", "arrivals.json").read_bytes()
    return ArrivalModel(msgspec.json.decode(raw, type=ArrivalFit))
