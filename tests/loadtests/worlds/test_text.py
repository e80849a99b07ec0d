"""Text of the project's own: fit for JSON in every language, never the same by chance."""

from __future__ import annotations

import json
from random import Random

import pytest

from gateway.loadtests.worlds.dialects import shape_of, spaced
from gateway.loadtests.worlds.phrases import LANGUAGES, ascii_json, code, phrases, plain
from gateway.loadtests.worlds.tasks import ANSWERS, Writer, answer_text, kinds
from gateway.loadtests.worlds.templates import encoded, worded


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_may_stand_in_json_as_they_are(language: str) -> None:
    text = phrases(language).sentences(Random(1), 50)
    assert json.loads(b'"' + text + b'"') == plain(text)
    assert plain(ascii_json(text)) == plain(text)
    assert ascii_json(text).isascii()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_passage_comes_twice_by_chance(language: str) -> None:
    rng, grammar = Random(1), phrases(language)
    clauses = max(1, 110 // grammar.sentence_bytes) + 1
    seen = [grammar.sentences(rng, clauses) for _ in range(20_000)]
    assert len(set(seen)) == len(seen)


def test_words_are_everybodys() -> None:
    rng, grammar = Random(1), phrases("en")
    first, second = (set(grammar.sentences(rng, 400).split()) for _ in range(2))
    assert len(first & second) > 0.9 * len(first)


@pytest.mark.parametrize("name", sorted(kinds()))
def test_every_kind_asks_and_answers_in_every_language(name: str) -> None:
    kind, rng = kinds()[name], Random(1)
    assert kind.answer in ANSWERS
    for language in LANGUAGES:
        writer = Writer(kind, language, ())
        for text in (writer.opening(rng), writer.following(rng)):
            assert plain(text)
            assert "{" not in plain(text) or kind.answer == "code"
        assert plain(answer_text(kind, writer.grammar, rng, 3))


def test_code_is_fit_for_json() -> None:
    assert plain(code(Random(1), 20)).count("\n") == 20


def test_wordings_take_the_first_or_any_alternative() -> None:
    text = "[Grade|Score] the answer [now|at once]."
    assert worded(text, None) == "Grade the answer now."
    drawn = {worded(text, Random(n)) for n in range(40)}
    assert drawn == {f"{a} the answer {b}." for a in ("Grade", "Score") for b in ("now", "at once")}


@pytest.mark.parametrize("encoding", ["zero-width", "homoglyphs", "base64"])
def test_an_encoding_changes_the_bytes_every_time(encoding: str) -> None:
    text = "Grade the answer with care."
    assert encoded(text, encoding, Random(1)) != text
    assert encoded(text, "none", Random(1)) == text


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_styles_differ_in_spaces_alone(dialect: str) -> None:
    compact, loose = shape_of(dialect, False), shape_of(dialect, True)
    for part in ("user", "answer", "call", "result"):
        assert getattr(loose, part) == spaced(getattr(compact, part))
        assert getattr(loose, part).replace(b" ", b"") == getattr(compact, part)
