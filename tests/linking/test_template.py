"""However a text is read, its head and its normal form are the same."""

from __future__ import annotations

import json
import re
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.linking.opening import MAX_BYTES, beginning_of, plain_beginning_of, text_of
from gateway.linking.template import (
    _HIDDEN,
    _MAY_BE_HIDDEN,
    _STARTS,
    HEAD_CHARS,
    QUESTION_CHARS,
    head_of,
    normalised,
)

words = st.sampled_from(
    [
        *(
            "alpha",
            "Beta",
            "12",
            "007",
            "0",
            "a1b22",
            "x" * 50,
            "é",
            "e\u0301",
            "\u0301",
            "Ｗｉｄｅ",
        ),
        *("，思考过程：", "か\u3099", "ハ\u309a", "각", "가\u11a8", "\u1100\u1161", "слово"),
        *("\u0915\u094d\u0937", "\u0627\u0651", "…", "“so”", "x\u0338"),
        *('"quoted"', "back\\slash", "\u200b", "straße", "١٢", "\U0001f600", "\x1f", "ǅ"),
    ]
)
spaces = st.sampled_from([" ", "  ", "\n", "\t", "\u3000", "\x1c", ""])
texts = st.lists(st.tuples(words, spaces), max_size=120).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)


def plainly_normalised(text: str) -> str:
    """As the module's docstring says it, a step a line."""
    text = unicodedata.normalize("NFKC", text)
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Mn"))
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"\d+", "0", text).strip().casefold()


@given(texts)
@example("\x1c \x85 1\n2")
def test_a_text_is_normalised_step_by_step(text: str) -> None:
    assert normalised(text) == plainly_normalised(text)


@given(texts, st.booleans())
@example("a" * 119 + " e\u0301", False)
@example("a" * 120 + "e\u0301", False)
@example("a " * 79 + "b\u0301" * 3, True)
@example("1" * 300 + "a" * 300, True)
@example("思" * 159 + "\u3099" + "思" * 40, False)
@example("か" * 119 + "\u3099" * 30 + "が" * 40, False)
@example("１" * 200 + "思" * 200, False)
def test_a_head_is_the_head_of_the_whole(text: str, is_escaped: bool) -> None:
    raw = json.dumps(text, ensure_ascii=is_escaped).encode()
    assert head_of(raw) == plainly_normalised(text[:QUESTION_CHARS])[:HEAD_CHARS]


@given(texts, st.booleans(), st.integers(1, 200))
@example("\U0001f600" * 40, True, 30)
@example("\\" * 400, True, 64)
def test_a_beginning_is_that_of_the_text_or_not_told(
    text: str, is_escaped: bool, most_chars: int
) -> None:
    raw = json.dumps(text, ensure_ascii=is_escaped).encode()
    assert beginning_of(raw, most_chars) in (None, text[:most_chars])
    plain = plain_beginning_of(raw, most_chars)
    assert plain is None or text.startswith(plain.decode())


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'"' + b"a" * MAX_BYTES, id="cut off"),
        pytest.param(b'["a"]', id="parts"),
        pytest.param(b"null", id="nothing"),
    ],
)
def test_of_other_values_no_beginning_is_told(raw: bytes) -> None:
    assert beginning_of(raw, 4) is None
    assert plain_beginning_of(raw, 4) is None


@pytest.mark.parametrize("text", ["ä" * 400, "思" * 400, "\U0001f600" * 400, "aä思\U0001f600" * 99])
@pytest.mark.parametrize("most_chars", range(1, 12))
def test_no_character_is_cut_in_two(text: str, most_chars: int) -> None:
    raw = json.dumps(text, ensure_ascii=False).encode()
    assert beginning_of(raw, most_chars) == text[:most_chars]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("plain text that goes on", b"plain text", id="plain"),
        pytest.param('a\nb\t"c" and on it goes', b'a\nb\t"c', id="escapes"),
        pytest.param("123456789\nand on it goes", b"123456789", id="an escape that is cut"),
        pytest.param("C:\\new and on it goes", None, id="a backslash"),
        pytest.param("a\x1fb and on it goes", None, id="another escape"),
        pytest.param("a b é d and on it goes", None, id="not ASCII"),
        pytest.param("0123456789", b"0123456789", id="no longer than that"),
        pytest.param("012345678", None, id="shorter"),
    ],
)
def test_a_plain_beginning_is_read_off_its_bytes(text: str, found: bytes | None) -> None:
    assert plain_beginning_of(json.dumps(text, ensure_ascii=False).encode(), 10) == found


def test_every_hidden_character_is_looked_for() -> None:
    hidden = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in _HIDDEN]
    assert len(hidden) > 2_000
    assert [c for c in hidden if not _MAY_BE_HIDDEN.search(c)] == []


def test_a_start_joins_nothing_that_is_before_it() -> None:
    """Also nothing that only Hangul, kana or an alphabet of India would join."""
    starts = [c for c in map(chr, range(0x10000)) if _STARTS.match(c)]
    assert len(starts) > 40_000
    before = ("e", "\u0338", "か", "\u1100", "가", "각", "\u0915", "\u09c7", "\u0627", "ｶ", "<")
    joined = [
        (one, c)
        for one in before
        for c in starts
        if unicodedata.normalize("NFKC", one + c)
        != unicodedata.normalize("NFKC", one) + unicodedata.normalize("NFKC", c)
    ]
    assert joined == []


def test_the_beginning_of_a_long_text_is_told() -> None:
    raw = json.dumps("A line.\n" * 1_000).encode()
    assert beginning_of(raw, 20) == text_of(raw)[:20]
