"""What is left over of a condition answers as the condition does."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.conditions import combined, leaf, left_over, positions_of
from gateway.model import Predicate

COUNT = 4

leaves = st.builds(
    lambda position, at_unknown: leaf(position, lambda value: value > 0, at_unknown=at_unknown),
    st.integers(0, COUNT - 1),
    st.booleans(),
)
trees = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda parts, is_all: combined(parts, is_all=is_all),
        st.lists(inner, min_size=1, max_size=4),
        st.booleans(),
    ),
    max_leaves=12,
)
answers = st.lists(st.sampled_from([None, 0, 1]), min_size=COUNT, max_size=COUNT)


@given(when=trees, values=answers, known=st.sets(st.integers(0, COUNT - 1)))
def test_what_is_left_over_answers_as_the_whole_does(
    when: Predicate, values: Sequence[object], known: set[int]
) -> None:
    ahead = [value if number in known else "not known" for number, value in enumerate(values)]
    left = left_over(when, ahead, known)
    assert (left if isinstance(left, bool) else left(values)) is when(values)


@given(when=trees, values=answers)
def test_nothing_is_left_over_of_what_is_known(when: Predicate, values: Sequence[object]) -> None:
    assert left_over(when, values, range(COUNT)) is when(values)


@given(when=trees)
def test_of_what_is_not_known_all_is_left(when: Predicate) -> None:
    assert left_over(when, (), ()) is when


@given(when=trees, values=answers, other=answers)
def test_a_condition_looks_at_nothing_but_its_positions(
    when: Predicate, values: list[object], other: list[object]
) -> None:
    positions = positions_of(when)
    assert positions is not None
    mixed = [values[n] if n in positions else other[n] for n in range(COUNT)]
    assert when(mixed) is when(values)


def test_a_known_part_settles_what_an_unknown_one_before_it_leaves_open() -> None:
    model = leaf(0, lambda value: value == "premium", at_unknown=False)
    is_below = leaf(1, lambda value: value < 1, at_unknown=False)
    both = combined([model, is_below], is_all=True)
    assert left_over(both, [None, 2], {1}) is False
    assert left_over(both, [None, 0], {1}) is model


def test_a_function_of_another_kind_tells_no_positions() -> None:
    assert positions_of(lambda values: bool(values)) is None
    mixed = combined([lambda values: bool(values), leaf(0, bool, at_unknown=False)], is_all=True)
    assert positions_of(mixed) is None
