"""The window puts late things into their place, within its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.workers.reorder import ReorderWindow

WINDOW_US = 50


def pass_through(instants: list[int], window_us: int, most: int = 1_000) -> list[tuple[int, int]]:
    window = ReorderWindow[tuple[int, int]](window_us, most)
    found: list[tuple[int, int]] = []
    for number, ts_us in enumerate(instants):
        found += window.add(ts_us, number, (ts_us, number))
        assert len(window.held()) <= most
    return [*found, *window.drain()]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, WINDOW_US)), max_size=60))
def test_what_is_late_by_no_more_than_the_window_comes_out_in_order(
    drawn: list[tuple[int, int]],
) -> None:
    """Things happen at `at` and are written `delay` later, so in order of their sum."""
    written = sorted(drawn, key=lambda one: one[0] + one[1])
    instants = [at for at, _ in written]
    found = pass_through(instants, WINDOW_US)
    assert found == sorted((at, number) for number, at in enumerate(instants))


@given(st.lists(st.integers(0, 500), max_size=60), st.integers(0, 100), st.integers(1, 5))
def test_nothing_is_lost_or_doubled_and_no_more_is_held_than_allowed(
    instants: list[int], window_us: int, most: int
) -> None:
    found = pass_through(instants, window_us, most)
    assert sorted(number for _, number in found) == list(range(len(instants)))


@given(st.lists(st.integers(0, 500), max_size=30).map(sorted))
def test_without_a_window_nothing_is_held(instants: list[int]) -> None:
    window = ReorderWindow[int](0)
    for number, ts_us in enumerate(instants):
        assert list(window.add(ts_us, number, number)) == [number]
