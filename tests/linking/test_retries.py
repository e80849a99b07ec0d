"""Which requests that are not looked at are told: those that repeat another account's refusal."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.keyed import KeyedHash
from gateway.linking.echo import ALONE_US, ECHO_US
from gateway.linking.evidence import Sight
from gateway.linking.opening import Members
from gateway.linking.retries import LEAST_CONTENT_BYTES, MAX_KEPT, Remembered, Retries, mark_of
from gateway.linking.traces import ASKED, Tracer
from gateway.model import SECOND_US, Subject
from tests.core.builders import FACTS, NOW_US

MARK = 7


def refused(by: str = "first", at_us: int = NOW_US) -> Retries:
    retries = Retries()
    assert not retries.ask(by, MARK, at_us)
    retries.refuse(by, MARK, at_us)
    return retries


def test_another_account_within_seconds_repeats_a_refusal() -> None:
    assert refused().ask("second", MARK, NOW_US + ECHO_US)


def test_it_may_be_refused_from_account_to_account() -> None:
    retries = refused()
    for n in range(5):
        at_us = NOW_US + n * ECHO_US // 2
        assert retries.ask(f"next_{n}", MARK, at_us)
        retries.refuse(f"next_{n}", MARK, at_us)


@pytest.mark.parametrize(
    ("account_id", "mark", "after_us"),
    [
        pytest.param("first", MARK, SECOND_US, id="an SDK tries again"),
        pytest.param("second", MARK + 1, SECOND_US, id="something else"),
        pytest.param("second", 0, SECOND_US, id="too short to tell"),
        pytest.param("second", MARK, ECHO_US + 1, id="too late"),
        pytest.param("second", MARK, 3 * ALONE_US, id="hours later"),
        pytest.param("second", MARK, -1, id="before it was refused"),
    ],
)
def test_what_repeats_nobodys_refusal(account_id: str, mark: int, after_us: int) -> None:
    assert not refused().ask(account_id, mark, NOW_US + after_us)


@pytest.mark.parametrize("ago_us", [0, ECHO_US, ALONE_US - 1])
def test_what_a_third_account_asks_too_is_public(ago_us: int) -> None:
    retries = Retries()
    retries.ask("third", MARK, NOW_US - ago_us)
    retries.ask("first", MARK, NOW_US)
    retries.refuse("first", MARK, NOW_US)
    assert not retries.ask("second", MARK, NOW_US + SECOND_US)


def test_what_was_public_hours_ago_is_nobodys_today() -> None:
    retries = Retries()
    for name in ("one", "two", "three"):
        retries.ask(name, MARK, NOW_US - 3 * ALONE_US)
    retries.ask("first", MARK, NOW_US)
    retries.refuse("first", MARK, NOW_US)
    assert retries.ask("second", MARK, NOW_US + SECOND_US)


def test_it_is_bounded_and_forgets_what_is_oldest() -> None:
    retries = refused()
    for mark in range(MARK + 1, MARK + 2 * MAX_KEPT + 2):
        retries.ask("busy", mark, NOW_US)
        retries.refuse("busy", mark, NOW_US)
    sizes = [len(held) for _, *generations in retries.pack() for held in generations]
    assert max(sizes) <= MAX_KEPT
    assert not retries.ask("second", MARK, NOW_US + 1)


_STEPS = st.lists(
    st.tuples(
        *(st.sampled_from(("ask", "refuse")), st.sampled_from("abc"), st.integers(1, 3)),
        st.integers(0, ALONE_US),
    ),
    max_size=40,
)


@given(steps=_STEPS, cut=st.integers(0, 40))
def test_it_goes_on_elsewhere_as_if_nothing_had_happened(
    steps: list[tuple[str, str, int, int]], cut: int
) -> None:
    at_us, here, there = NOW_US, Retries(), Retries()
    for number, (act, account_id, mark, after_us) in enumerate(steps):
        if number == cut:
            packed = msgspec.msgpack.encode(there.pack())
            there = Retries()
            there.restore(msgspec.msgpack.decode(packed, type=Remembered))
        at_us += after_us
        found = [getattr(one, act)(account_id, mark, at_us) for one in (here, there)]
        assert found[0] == found[1]


def question(text: str) -> Members:
    return {"messages": b'[{"role":"user","content":"%b"}]' % text.encode()}


@given(st.text(st.characters(codec="utf-8"), min_size=LEAST_CONTENT_BYTES), st.text(max_size=9))
def test_another_end_is_another_mark(text: str, more: str) -> None:
    one, other = question(text), question(text + more)
    assert (mark_of(one) == mark_of(other)) == (one == other)
    assert mark_of(one) != 0


def test_what_is_short_or_absent_has_no_mark() -> None:
    assert mark_of({}) == mark_of({"input": b'"hello"'}) == 0


LONG = question("Work through what follows and show every single step that you take: 3 by 4. " * 3)


def test_a_request_that_is_passed_over_tells_a_retry_by_its_real_value() -> None:
    tracer = Tracer(KeyedHash(b"a secret for tests of retries"), ["echo"])
    assert tracer.of_passed_over("first", LONG, NOW_US) == []
    (told,) = tracer.of_refusal("first", tracer.asked_in(LONG), NOW_US)
    (asked,) = tracer.of_passed_over("second", LONG, NOW_US + SECOND_US)
    assert (asked.family, asked.value) == (ASKED, told.value)
    assert tracer.of_passed_over("second", question("Something else. " * 9), NOW_US) == []


def test_what_is_looked_at_counts_for_who_asks_it() -> None:
    tracer = Tracer(KeyedHash(b"a secret for tests of retries"), ["echo"])
    for name in ("third", "first"):
        tracer.of_request(Sight(NOW_US, FACTS, Subject(name), LONG))
    tracer.of_refusal("first", tracer.asked_in(LONG), NOW_US)
    assert tracer.of_passed_over("second", LONG, NOW_US + SECOND_US) == []


def test_where_echo_is_switched_off_nothing_is_compared() -> None:
    tracer = Tracer(KeyedHash(b"a secret for tests of retries"), ["provenance"])
    assert tracer.of_refusal("first", tracer.asked_in(LONG), NOW_US) == []
    assert tracer.of_passed_over("second", LONG, NOW_US + SECOND_US) == []
