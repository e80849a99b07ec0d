"""Which changes make a question another one, of whatever length it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.core.keyed import KeyedHash
from gateway.linking.evidence import Sight
from gateway.linking.opening import Members
from gateway.linking.traces import CONTENT_BYTES, END_BYTES, STRIDE, WHOLE_BYTES, Tracer
from gateway.model import Subject
from tests.core.builders import FACTS

TRACER = Tracer(KeyedHash(b"a secret for tests of traces"), ["echo"])
LENGTHS = [
    pytest.param(WHOLE_BYTES, id="read whole"),
    pytest.param(WHOLE_BYTES + 1, id="just longer"),
    pytest.param(20_000, id="long"),
    pytest.param(CONTENT_BYTES + 5, id="over the bound"),
]


def question(length: int) -> bytes:
    return b'"' + (b"what is asked, and by whom? " * (length // 28 + 1))[: length - 2] + b'"'


def sight(members: Members) -> Sight:
    return Sight(0, FACTS, Subject("acc_1"), members)


def value(raw: bytes | memoryview) -> str:
    (found,) = TRACER.asked_in({"input": raw}).values
    return found


@pytest.mark.parametrize("length", LENGTHS)
def test_a_question_is_the_same_refused_and_asked_however_it_is_held(length: int) -> None:
    raw = question(length)
    for held in (raw, memoryview(raw), Raw(raw)):
        (asked,) = TRACER.of_request(sight({"input": held}))
        assert asked.value == value(held) == value(raw)


@pytest.mark.parametrize("length", LENGTHS)
@given(share=st.floats(0, 1))
def test_another_end_or_another_length_is_another_question(length: int, share: float) -> None:
    raw = question(length)
    place = length - 1 - round(share * (END_BYTES - 1))
    assert value(raw[:place] + b"#" + raw[place + 1 :]) != value(raw)
    assert value(raw[:place] + b"#" + raw[place:]) != value(raw)


@pytest.mark.parametrize("length", LENGTHS)
@given(share=st.floats(0, 1))
def test_other_words_anywhere_are_another_question(length: int, share: float) -> None:
    raw = question(length)
    first = max(0, length - CONTENT_BYTES)
    place = first + round(share * (length - first - STRIDE))
    assert value(raw[:place] + b"#" * STRIDE + raw[place + STRIDE :]) != value(raw)
