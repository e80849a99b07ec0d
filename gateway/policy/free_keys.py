"""Limits by what the caller chooses: each value it makes up brings a quota of its own.

Such a limit splits a budget; it is none. It is fine where another limit bounds the same by
something that a caller cannot make up, or where `when` names the values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model import Cost, Limit, Mode, SignalSpec
from .limits import ALIASES
from .schema import RawLimit
from .source import Place, Report

FIRM_KEYS = frozenset({"account_id", "key", "client_network", "global"})
_COSTS_BOUND_BY = {
    Cost.TOTAL_TOKENS: frozenset({Cost.TOTAL_TOKENS, Cost.INPUT_TOKENS, Cost.OUTPUT_TOKENS})
}


@dataclass(frozen=True, slots=True)
class WrittenLimit:
    """A limit as it was written, as it was compiled, and where."""

    raw: RawLimit
    limit: Limit
    place: Place

    @property
    def names(self) -> list[str]:
        """The signals of `by`, by their full names."""
        by = self.raw.by if isinstance(self.raw.by, list) else [self.raw.by]
        return [ALIASES.get(name, name) for name in map(str, by)]

    @property
    def is_firm(self) -> bool:
        """It holds for every request, whatever the caller makes up."""
        is_for_all = self.limit.when is None and self.limit.quota is not None
        return is_for_all and FIRM_KEYS.issuperset(self.names)

    def bounds(self, other: Limit) -> bool:
        """Whether what passes `other` is bounded here too."""
        is_as_strict = self.limit.mode is Mode.ENFORCE or other.mode is Mode.SHADOW
        costs = _COSTS_BOUND_BY.get(self.limit.cost, frozenset({self.limit.cost}))
        return self.is_firm and is_as_strict and other.cost in costs

    def names_values_of(self, signal: str) -> bool:
        """Whether `when` lets only listed values of the signal in: `model: m-1`, or `in`."""
        wanted = self.raw.when.get(signal) if isinstance(self.raw.when, dict) else None
        return "in" in wanted if isinstance(wanted, dict) else wanted is not None


def warn_of_free_keys(
    limits: Sequence[WrittenLimit], signals: Mapping[str, SignalSpec], report: Report
) -> None:
    """A warning for each limit by a free signal that nothing else bounds."""
    for one in limits:
        free = [
            name
            for name in one.names
            if name in signals and signals[name].is_free and not one.names_values_of(name)
        ]
        if free and not any(other.bounds(one.limit) for other in limits):
            what = one.limit.cost.value.replace("_", " ")
            report.warn(
                one.place / "by",
                f"the caller chooses {' and '.join(free)}, and each value has a quota of its own: "
                f"bound {what} by account too, or name the values in when",
            )
