"""Which numbers a comparison leaves, so that one which leaves none is an error at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from ..model import SignalSpec

PERCENT = 100


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high`; an open end is not part of it."""

    low: float = -inf
    high: float = inf
    is_low_open: bool = False
    is_high_open: bool = False

    @property
    def is_empty(self) -> bool:
        is_open = self.is_low_open or self.is_high_open
        return self.low > self.high or (self.low == self.high and is_open)

    def within(self, other: Range) -> Range:
        low, high = max(self.low, other.low), min(self.high, other.high)
        pair = (self, other)
        return Range(
            low,
            high,
            any(one.is_low_open for one in pair if one.low == low),
            any(one.is_high_open for one in pair if one.high == high),
        )


def why_never(spec: SignalSpec, operators: Mapping[str, Any]) -> str | None:
    """Why no number that the signal can be fits the comparisons; None when one does.

    What is no number is somebody else's error, and is passed over.
    """
    written = _written(operators)
    if written.is_empty:
        return "no number is in this range"
    possible = Range(spec.low, spec.high)
    if possible.within(written).is_empty:
        return _beyond(spec, written)
    listed = operators.get("in")
    if not isinstance(listed, list) or not listed or not all(map(_is_number, listed)):
        return None
    if any(spec.low <= one <= spec.high for one in listed):
        return None
    return _beyond(spec, Range(min(listed), max(listed)))


def _written(operators: Mapping[str, Any]) -> Range:
    """What the bounds leave, whatever the signal is."""
    left = Range()
    for name, bound in operators.items():
        if _is_number(bound) and name in _RANGES:
            left = left.within(_RANGES[name](bound))
    return left


_RANGES = {
    "eq": lambda bound: Range(bound, bound),
    "gt": lambda bound: Range(low=bound, is_low_open=True),
    "gte": lambda bound: Range(low=bound),
    "lt": lambda bound: Range(high=bound, is_high_open=True),
    "lte": lambda bound: Range(high=bound),
}


def _beyond(spec: SignalSpec, written: Range) -> str:
    """`suspicion is 0 to 1; did you mean 0.85?` for whoever thought in per cent."""
    meant = written.low if written.low > spec.high else written.high
    hint = ""
    if (spec.low, spec.high) == (0, 1) and 1 < meant <= PERCENT:
        hint = f"; did you mean {meant / PERCENT:g}?"
    most = "or more" if spec.high == inf else f"to {spec.high:.15g}"
    return f"{spec.name} is {spec.low:.15g} {most}{hint}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
