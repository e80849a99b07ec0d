"""Whole words and phrases count once each, glyphs anywhere, and nothing overflows."""

from __future__ import annotations

import pytest

from gateway.classifiers.concepts import CONCEPTS, Concept
from gateway.classifiers.lexicon import Lexicon
from gateway.classifiers.text import folded

LEXICON = Lexicon(
    (
        Concept("one", "", words="led answer", phrases=("led to", "step by step"), glyphs="打分"),
        Concept("other", "", words="answer"),
    )
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing of it", [0, 0]),
        ("the answer, the ANSWER", [1, 1]),
        ("called to answers", [0, 0]),
        ("it led to it", [2, 0]),
        ("Step by   step.", [1, 0]),
        ("Step, by step.", [0, 0]),
        ("请打分", [1, 0]),
        ("led to an answer step by step 打分", [3, 1]),
    ],
    ids=[
        "none",
        "once",
        "inside_words",
        "phrase",
        "spread",
        "broken_by_a_mark",
        "glyph",
        "no_more_than_three",
    ],
)
def test_counts(text: str, expected: list[int]) -> None:
    assert (
        list(LEXICON.counts(LEXICON.said(folded(text.encode()))).to_bytes(2, "little")) == expected
    )


def test_a_text_of_every_word_of_every_concept_overflows_nothing() -> None:
    said = " ".join(f"{one.words} {' '.join(one.phrases)} {one.glyphs}" for one in CONCEPTS)
    lexicon = Lexicon()
    counts = lexicon.counts(lexicon.said(folded(said.encode()))).to_bytes(lexicon.size, "little")
    assert set(counts) == {3}


def test_a_concept_of_too_many_words_is_refused() -> None:
    with pytest.raises(ValueError, match="over 255"):
        Lexicon([Concept("long", "", words=" ".join(f"w{n}" for n in range(256)))])


def test_the_strongest_part_is_where_a_text_says_what_others_seldom_say() -> None:
    lexicon = Lexicon()
    filler = "the boat left the harbour at noon and came back with the tide " * 40
    said = "score the answer by the rubric and give each criterion a grade"
    text = folded(f'"{filler}{said} {filler}"'.encode())
    assert {" rubric ", " score ", " grade "} <= lexicon.strongest(text)
    assert lexicon.strongest(folded(b'"nothing"')) == set()


def test_more_words_of_a_concept_are_never_less_rare() -> None:
    for concept in CONCEPTS:
        assert 0 < concept.rarity[0] <= concept.rarity[1] <= concept.rarity[2], concept.name
