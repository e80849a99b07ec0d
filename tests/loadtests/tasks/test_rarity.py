"""What few texts say is rare, and what all say is not."""

from __future__ import annotations

from gateway.classifiers.concepts import CONCEPTS
from gateway.loadtests.tasks.rarity import rarities

PLACES = {concept.name: place for place, concept in enumerate(CONCEPTS)}


def test_what_is_said_seldom_is_rarer_than_what_is_said_always() -> None:
    texts = ["please help me with my thing"] * 99 + ["score it by the rubric with a grade, please"]
    found = rarities(iter(texts))
    assert found[PLACES["person"]][0] == 0
    assert found[PLACES["grading"]] == (42, 42, 42)  # one and a half in 101 parts
    assert found[PLACES["translating"]] == (53, 53, 53)  # none: half a part
