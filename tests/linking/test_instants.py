"""What is kept of when accounts sent."""

from __future__ import annotations

from itertools import permutations

import pytest

from gateway.linking import instants as subject
from gateway.linking.instants import KEPT, SLOT_US, Instants


def test_the_first_of_each_slot_is_kept_whatever_the_order() -> None:
    noted = [3, SLOT_US + 5, SLOT_US + 2, 9]
    for order in permutations(noted):
        instants = Instants()
        for at_us in order:
            instants.note("a", at_us)
        assert instants.of("a").tolist() == [3, SLOT_US + 2]


def test_the_latest_are_kept() -> None:
    instants = Instants()
    for slot in range(KEPT + 10):
        instants.note("a", slot * SLOT_US)
    assert instants.of("a").tolist() == [slot * SLOT_US for slot in range(10, KEPT + 10)]


def test_of_one_slot_only_the_first_word_is_new() -> None:
    instants = Instants()
    assert instants.note("a", 7)
    assert not instants.note("a", 8)
    assert not instants.note("a", 6)
    assert instants.note("a", SLOT_US)


def test_who_sends_more_often_than_slots_show_is_thinned() -> None:
    instants = Instants(10)
    for name, every in (("often", 12), ("seldom", 20), ("new", 12)):
        for n in range(2 if name == "new" else 20):
            instants.note(name, n * every)
    assert [instants.is_thinned(name) for name in ("often", "seldom", "new", "nobody")] == [
        *(True, False),
        *(False, False),
    ]


def test_who_sent_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_ACCOUNTS", 10)
    instants = Instants()
    for n in range(12):
        instants.note(f"a{n}", n)
    instants.make_room()
    assert not instants.of("a0")
    assert not instants.of("a1")
    assert instants.of("a2").tolist() == [2]


def test_packing_keeps_all() -> None:
    instants = Instants()
    instants.note("a", 7)
    instants.note("b", SLOT_US)
    again = Instants.unpack(instants.pack())
    assert again.of("a") == instants.of("a")
    assert again.of("b") == instants.of("b")
