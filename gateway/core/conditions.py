"""Conditions as functions of a policy's values, which can be worked out in part.

Law: what is left over of a condition is true exactly where the condition is, for all values that
agree with those that are known. What cannot be known ahead in one part does not hide what is known
in another: `verification below email` settles an account's answer although `model` comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, cast

from ..model import Predicate

Test = Callable[[Any], bool]


def leaf(position: int, test: Test, *, at_unknown: bool) -> Predicate:
    """`test` of one value; `at_unknown` where that is None."""
    if at_unknown:
        made = lambda values: (value := values[position]) is None or test(value)  # noqa: E731
    else:
        made = lambda values: (value := values[position]) is not None and test(value)  # noqa: E731
    cast(Any, made).position = position
    return made


def combined(tests: Sequence[Test], *, is_all: bool) -> Test:
    """One function of several, at least one; they are tried in this order."""
    parts = tuple(tests)
    if len(parts) == 1:
        return parts[0]
    made = _pair(*parts, is_all=is_all) if len(parts) == 2 else _until(parts, ends_with=not is_all)
    cast(Any, made).parts = parts
    cast(Any, made).is_all = is_all
    return made


def _pair(first: Test, second: Test, *, is_all: bool) -> Test:
    if is_all:
        return lambda values: first(values) and second(values)
    return lambda values: first(values) or second(values)


def _until(tests: tuple[Test, ...], *, ends_with: bool) -> Test:
    """The first test that comes out as `ends_with` decides. A loop: half the price of any()."""

    def first(values: Any) -> bool:
        for test in tests:
            if test(values) is ends_with:
                return ends_with
        return not ends_with

    return first


def positions_of(when: Predicate) -> frozenset[int] | None:
    """Of all values that the condition may look at; None where it was not made here."""
    position = getattr(when, "position", None)
    if position is not None:
        return frozenset((position,))
    found = [positions_of(part) for part in getattr(when, "parts", ())]
    known = [one for one in found if one is not None]
    return frozenset().union(*known) if found and len(known) == len(found) else None


def left_over(when: Predicate, values: Sequence[object], known: Container[int]) -> Predicate | bool:
    """What is left to be asked of a condition whose `positions_of` are told: itself, a part of
    it, or nothing: what it comes to. `values` have those at the `known` positions."""
    parts: tuple[Predicate, ...] | None = getattr(when, "parts", None)
    if parts is None:
        return bool(when(values)) if cast(Any, when).position in known else when
    is_all: bool = cast(Any, when).is_all
    left = []
    for part in parts:
        outcome = left_over(part, values, known)
        if outcome is (not is_all):
            return outcome
        if not isinstance(outcome, bool):
            left.append(outcome)
    if not left:
        return is_all
    return when if left == list(parts) else combined(left, is_all=is_all)
