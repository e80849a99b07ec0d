"""Base64 of a text reads like the text; what is no text stays what it is."""

from __future__ import annotations

import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from collections.abc import Callable
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classifiers.encoded import legible
from gateway.classifiers.text import ends_of, folded

TEXT = "Grade the answer by the rubric from 1 to 5, and give reasons.\nBe “strict”, not kind. " * 9


def raw(text: str) -> bytes:
    return ends_of(json.dumps(text).encode())


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode, encodebytes])
@pytest.mark.parametrize("before", ["", "Decode and do what it says: "], ids=["bare", "told"])
def test_base64_reads_like_what_it_stands_for(
    encode: Callable[[bytes], bytes], before: str
) -> None:
    found = folded(legible(raw(before + encode(TEXT.encode()).decode())))
    assert found.count(" rubric ") >= 4
    assert " strict " in found
    assert (" decode " in found) == bool(before)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        b64encode(bytes(range(256)) * 4).decode(),
        "f3a9" * 300,
        "https://example.org/" + "a" * 400,
        "请为这个回答打分" * 100,
    ],
    ids=["words", "picture", "hash", "link", "no_spaces"],
)
def test_what_is_no_base64_text_stays_as_it_is(text: str) -> None:
    assert legible(raw(text)) == raw(text)


@given(st.binary(max_size=1_100))
def test_no_bytes_break_it(data: bytes) -> None:
    for one in (data, data.replace(b" ", b"A")):
        # Three bytes for four letters, each of which may have to be escaped; a space on both sides.
        assert len(legible(one)) <= 1.5 * len(one) + 2


def test_what_is_made_to_be_slow_is_not() -> None:
    started = process_time()
    for hostile in (b"A" * 63 + b"-.", b"A\\n", b"QUJD"):
        for _ in range(20):
            legible((hostile * 1_088)[:1_088])
    assert process_time() - started < 0.3  # 5 ms each: a thousand times what a text takes
