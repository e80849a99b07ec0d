"""Quotas as people write them: `200k/min`, `1000 / hour`, `12 at once`."""

from __future__ import annotations

import re
from functools import lru_cache

from ..model import SECOND_US, Quota

PERIODS_US = {
    "s": SECOND_US,
    "sec": SECOND_US,
    "second": SECOND_US,
    "min": 60 * SECOND_US,
    "minute": 60 * SECOND_US,
    "h": 3600 * SECOND_US,
    "hour": 3600 * SECOND_US,
    "d": 86_400 * SECOND_US,
    "day": 86_400 * SECOND_US,
}
_SCALE = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_COUNT = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)([kmg]?)", re.IGNORECASE)
MAX_UNITS = 10**12
MAX_SPAN_US = 366 * 86_400 * SECOND_US  # keeps every TAT far below 2^53 us


class QuotaError(ValueError):
    """The text is no quota, or one that cannot hold; the message says what would be."""


def parse_count(text: str) -> int:
    """`200k` → 200000. Raises QuotaError for anything that is not a whole count ≥ 1."""
    match = _COUNT.fullmatch(text.strip().replace("_", ""))
    if match is None:
        raise QuotaError(f"'{text}' is no count: write 500, 200k or 1.5M")
    units = float(match[1]) * _SCALE[match[2].lower()]
    if units != int(units) or not 1 <= units <= MAX_UNITS:
        raise QuotaError(f"'{text}' must be a whole number from 1 to {MAX_UNITS}")
    return int(units)


@lru_cache(maxsize=8192)
def parse_quota(text: str, burst: int | None = None) -> Quota:
    """A quota from its text; `burst` None takes the whole of one period's limit, at most what
    a minute allows (a day's quota must not come in one second).

    Raises QuotaError when the text cannot be read, when the burst is below 1, or when filling
    the burst would take longer than a year.
    """
    if text.strip().endswith("at once"):
        held = parse_count(text.strip().removesuffix("at once"))
        return Quota(held, 0, held)
    amount, slash, period = (part.strip() for part in text.partition("/"))
    if not slash or period.lower() not in PERIODS_US:
        raise QuotaError(
            f"'{text}' is no quota: write 60/min, 200k/hour, or '12 at once' for concurrency"
        )
    limit, period_us = parse_count(amount), PERIODS_US[period.lower()]
    if burst is None:
        burst = max(
            1, limit if period_us <= 60 * SECOND_US else limit * 60 * SECOND_US // period_us
        )
    if burst < 1:
        raise QuotaError("burst must be at least 1")
    if burst * period_us // limit > MAX_SPAN_US:
        raise QuotaError(f"a burst of {burst} at {text} would take over a year to drain")
    if burst * period_us // limit < 1:
        raise QuotaError(
            f"{text} with a burst of {burst} is finer than the clock (1 us): raise the burst "
            f"to at least {-(-limit // period_us)}"
        )
    return Quota(limit, period_us, burst)
