"""Nothing leaks: an operator or a template source never stands on both sides of a split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.training.split import folds_of, groups_of

NAMES = st.sampled_from("abcdefgh")


def test_operators_and_templates_join_through_one_another() -> None:
    operators, sources = ["a", "b", "c", "d"], ["x", "x", "y", "z"]
    groups = groups_of([*operators, "b"], [*sources, "y"])
    assert groups[0] == groups[1] == groups[2] == groups[4]
    assert groups[3] != groups[0]


@given(st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=60))
def test_no_name_is_in_two_folds(rows: list[tuple[str, str, str]]) -> None:
    operators, sources, tasks = ([row[n] for row in rows] for n in range(3))
    folds = folds_of(groups_of(operators, sources), tasks, 3)
    for names in (operators, sources):
        for name in names:
            assert len({f for f, n in zip(folds, names, strict=True) if n == name}) == 1
