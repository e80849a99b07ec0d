"""`read_members` accepts an object only if every parser finds the same members in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.adapters.strict_json import (
    MAX_MEMBERS,
    UTF8_STEP_BYTES,
    check_text,
    read_members,
    spans_of,
)
from gateway.errors import RequestError

SPACE = st.text(" \t\n\r", max_size=2)
NAMES = st.one_of(
    st.sampled_from(
        ["model", "Model", "MODEL", "stream", "\u017ftream", "mode\u2113", "\u212a", "k"]
    ),
    st.text(max_size=4),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.sampled_from(['","model":"x', '"', "\\", "}", "1", "12"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@st.composite
def spelled_names(draw: st.DrawFn, name: str) -> str:
    """A key as JSON text: plain, or with any of its characters escaped."""
    if not draw(st.booleans()):
        return json.dumps(name, ensure_ascii=draw(st.booleans()))
    units = name.encode("utf-16-be", "surrogatepass")
    pairs = [units[i : i + 2].hex() for i in range(0, len(units), 2)]
    return '"' + "".join(f"\\u{pair}" for pair in pairs) + '"'


@st.composite
def objects(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """Names as written, and an object that has them, in any spacing and spelling."""
    names = draw(st.lists(NAMES, max_size=5))
    is_compact = draw(st.booleans())
    gap = st.just("") if is_compact else SPACE
    members = []
    for name in names:
        separators = (",", ":") if is_compact else (", ", ": ")
        value = json.dumps(draw(VALUES), separators=separators, ensure_ascii=draw(st.booleans()))
        spelled = draw(spelled_names(name))
        members.append(f"{draw(gap)}{spelled}{draw(gap)}:{draw(gap)}{value}{draw(gap)}")
    text = f"{draw(gap)}{{{draw(gap)}{','.join(members)}{draw(gap)}}}{draw(gap)}"
    return names, text.encode()


def is_refused(raw: bytes, reads: frozenset[str] = frozenset()) -> str | None:
    try:
        read_members(raw, reads, "")
    except RequestError as refused:
        return refused.reason
    return None


def is_text(names: list[str]) -> bool:
    return all(name.isprintable() or min(name) >= " " for name in names if name)


@settings(max_examples=1500, deadline=None)
@given(objects())
@example((["a", "a"], b'{"a":1,"a":1}'))
@example((["a", "a"], b'{"a":1,"a":12}'))
@example((["a", "a"], b'{"a":12,"a":1}'))
@example((["a", "b", "a"], b'{"a":"","b":0,"\\u0061":{}}'))
def test_a_key_that_comes_twice_is_never_missed(case: tuple[list[str], bytes]) -> None:
    names, raw = case
    folded = [name.casefold() for name in names]
    is_plain = len(set(folded)) == len(names) and is_text(names)
    assert (is_refused(raw) is None) == is_plain
    if len(set(names)) < len(names):
        assert is_refused(raw) in ("duplicate_key", "ambiguous_key")


@settings(max_examples=500, deadline=None)
@given(objects())
def test_accepted_members_are_those_of_an_independent_parser(case: tuple[list[str], bytes]) -> None:
    names, raw = case
    if is_refused(raw) is None:
        members = read_members(raw, (), "")
        assert list(members) == names
        parsed = json.loads(raw)
        assert {name: json.loads(bytes(value)) for name, value in members.items()} == parsed
        spans = spans_of(raw, members)
        assert {name: raw[a:b] for name, (a, b) in spans.items()} == {
            name: bytes(value) for name, value in members.items()
        }


def refuse_constant(text: str) -> Any:
    raise ValueError(text)


@settings(max_examples=1500, deadline=None)
@given(objects(), st.data())
def test_damaged_json_is_accepted_only_if_an_independent_parser_reads_the_same(
    case: tuple[list[str], bytes], data: st.DataObject
) -> None:
    _, raw = case
    at = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(at, min(len(raw), at + 3)))
    damaged = (
        raw[:at]
        + data.draw(st.binary(max_size=2) | st.sampled_from([b'"', b",", b"}"]))
        + raw[end:]
    )
    try:
        check_text(damaged)
        members = read_members(damaged, (), "")
    except RequestError:
        return
    pairs = json.loads(
        damaged, object_pairs_hook=lambda pairs: pairs, parse_constant=refuse_constant
    )
    assert [name for name, _ in pairs] == list(members)
    spans = spans_of(damaged, members)
    assert [damaged[a:b] for a, b in spans.values()] == [bytes(v) for v in members.values()]


REFUSED = [
    pytest.param(b'{"a":1,"a":2}', "duplicate_key", id="twice"),
    pytest.param(b'{"a":1,"\\u0061":2}', "duplicate_key", id="twice-after-unescaping"),
    pytest.param(b'{"a":"","a":""}', "duplicate_key", id="twice-and-tiny"),
    pytest.param(b'{"model":1,"Model":2}', "ambiguous_key", id="twice-but-for-case"),
    pytest.param('{"\u017ftream":1}'.encode(), "ambiguous_key", id="long-s-folds-to-s"),
    pytest.param(b'{"Model":1}', "ambiguous_key", id="a-field-in-another-case"),
    pytest.param(b'{"model\\u0000x":1}', "ambiguous_key", id="nul-in-a-key"),
    pytest.param(b'{"a":NaN}', "malformed_json", id="nan"),
    pytest.param(b'{"a":-Infinity}', "malformed_json", id="infinity"),
    pytest.param(b'{"a":"\\ud800"}', "malformed_json", id="lone-surrogate"),
    pytest.param(b'{"\\udc00":1}', "malformed_json", id="lone-surrogate-in-a-key"),
    pytest.param(b'{"a":1}{"a":2}', "malformed_json", id="two-objects"),
    pytest.param(b'{"a":1}\x00', "malformed_json", id="trailing-nul"),
    pytest.param(b'{"a":1,}', "malformed_json", id="trailing-comma"),
    pytest.param(b"{'a':1}", "malformed_json", id="single-quotes"),
    pytest.param(b'{"a":1}//x', "malformed_json", id="comment"),
    pytest.param(b'{"a":"\n"}', "malformed_json", id="raw-newline-in-text"),
    pytest.param(b'{"a":01}', "malformed_json", id="leading-zero"),
    pytest.param(b'{"a"', "malformed_json", id="cut-short"),
    pytest.param(b"   ", "malformed_json", id="nothing-but-space"),
    pytest.param(b"[1]", "not_an_object", id="list"),
    pytest.param(b'"a"', "not_an_object", id="text"),
    pytest.param(b"null", "not_an_object", id="null"),
    pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep", id="deep-lists"),
    pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "too_deep", id="deep-objects"),
    pytest.param(b'{"a":' + b"[" * 100_000, "too_deep", id="deep-and-never-closed"),
]


@pytest.mark.parametrize(("raw", "reason"), REFUSED)
def test_json_that_parsers_may_read_differently_is_refused(raw: bytes, reason: str) -> None:
    assert is_refused(raw, frozenset({"model", "stream"})) == reason


@pytest.mark.parametrize("gap", [b"", b" "], ids=["compact", "spaced"])
def test_an_object_may_have_as_many_members_as_the_bound_and_no_more(gap: bytes) -> None:
    names = [b'"k%d":%b0' % (number, gap) for number in range(MAX_MEMBERS + 1)]
    assert len(read_members(b"{" + b",".join(names[:-1]) + b"}", (), "")) == MAX_MEMBERS
    with pytest.raises(RequestError) as refused:
        read_members(b"{" + b",".join(names) + b"}", (), "metadata.")
    assert (refused.value.status, refused.value.reason) == (400, "invalid_field")
    assert refused.value.message == f"`metadata` must have at most {MAX_MEMBERS} members."


def test_one_key_again_and_again_counts_each_time() -> None:
    raw = b"{" + b",".join([b'"key":0'] * (MAX_MEMBERS + 1)) + b"}"
    assert is_refused(raw) == "invalid_field"


def test_a_large_object_is_read_as_strictly_as_a_small_one() -> None:
    filler = b'"filler":"' + b"x" * (6 * MAX_MEMBERS) + b'"'
    for raw, reason in (
        (b'{"a":1,"a":2,%b}', "duplicate_key"),
        (b'{"a":1,"\\u0061":2,%b}', "duplicate_key"),
        (b'{"Model":1,%b}', "ambiguous_key"),
        (b'{"a":01,%b}', "malformed_json"),
        (b'{"a":1,%b', "malformed_json"),
        (b"[{%b}]", "not_an_object"),
        (b'{"a":1,%b}', None),
    ):
        assert is_refused(raw % filler, frozenset({"model"})) == reason


def test_depth_that_people_use_is_accepted() -> None:
    assert is_refused(b'{"a":' + b"[" * 200 + b"]" * 200 + b"}") is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param(b"", "empty_body", id="empty"),
        pytest.param(b"\xef\xbb\xbf{}", "byte_order_mark", id="byte-order-mark"),
        pytest.param(b'{"a":"\xff"}', "invalid_utf8", id="no-utf8"),
        pytest.param(b'{"a":"\xc0\xaf"}', "invalid_utf8", id="overlong"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', "invalid_utf8", id="encoded-surrogate"),
        pytest.param(b'{"a":"\xe2\x82', "invalid_utf8", id="cut-within-a-character"),
        pytest.param("{}".encode("utf-16"), "invalid_utf8", id="utf-16"),
    ],
)
def test_text_that_is_not_utf8_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(RequestError) as refused:
        check_text(raw)
    assert (refused.value.status, refused.value.reason) == (400, reason)


@pytest.mark.parametrize("shift", range(4))
def test_a_character_across_two_steps_is_read_and_a_broken_one_is_found(shift: int) -> None:
    raw = b"x" * (UTF8_STEP_BYTES - shift) + "\U0001f600".encode()
    check_text(raw)
    with pytest.raises(RequestError):
        check_text(raw[:-1])
    with pytest.raises(RequestError):
        check_text(raw[:-1] + b"x" * UTF8_STEP_BYTES)
