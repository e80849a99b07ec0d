"""However a text is read, its head and its normal form are the same."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.linking.opening import MAX_BYTES, beginning_of, plain_beginning_of, text_of
from gateway.linking.template import HEAD_CHARS, QUESTION_CHARS, head_of, normalised

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
    assert plain_beginning_of(raw, most_chars) in (
        None,
        text[:most_chars].encode("utf-8", "surrogatepass"),
    )


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'"' + b"a" * MAX_BYTES, id="cut off"),
        pytest.param(b'["a"]', id="parts"),
        pytest.param(b"null", id="nothing"),
        pytest.param('"ä"'.encode(), id="not ascii"),
    ],
)
def test_of_other_values_no_beginning_is_told(raw: bytes) -> None:
    assert beginning_of(raw, 4) is None
    assert plain_beginning_of(raw, 4) is None


def test_the_beginning_of_a_long_text_is_told() -> None:
    raw = json.dumps("A line.\n" * 1_000).encode()
    assert beginning_of(raw, 20) == text_of(raw)[:20]
