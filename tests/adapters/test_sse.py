from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters import sse
from gateway.adapters.sse import (
    ANTHROPIC_STREAM,
    MAX_EVENT_BYTES,
    OPENAI_STREAM,
    RESPONSES_STREAM,
    StreamDialect,
    StreamUsage,
    data_of,
)
from gateway.model import Usage

from .streams import (
    WORDS,
    anthropic_stream,
    chat_chunk,
    chat_stream,
    event,
    pieces,
    responses_stream,
)

ENDS = ["\n", "\r\n", "\r"]
TEXT_BYTES = len("".join(WORDS).encode())


def relay(reader: StreamUsage, chunks: list[bytes]) -> bytes:
    return b"".join([*map(reader.feed, chunks), reader.finish()])


STREAMS = [
    pytest.param(OPENAI_STREAM, chat_stream, Usage(20, 12, 33), id="chat"),
    pytest.param(ANTHROPIC_STREAM, anthropic_stream, Usage(112, 100, 40), id="anthropic"),
    pytest.param(RESPONSES_STREAM, responses_stream, Usage(50, 30, 60), id="responses"),
]


def raw_of(stream: Any, end: str) -> bytes:
    made: bytes | tuple[bytes, bytes] = stream(end)
    return made[0] if isinstance(made, tuple) else made


@pytest.mark.parametrize("end", ENDS, ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize(("dialect", "stream", "usage"), STREAMS)
def test_usage_is_read_and_every_byte_forwarded_at_once(
    dialect: StreamDialect, stream: Any, usage: Usage, end: str
) -> None:
    raw = raw_of(stream, end)
    for chunks in ([raw], pieces(raw, list(range(0, len(raw), 7))), pieces(raw, [len(raw) // 2])):
        reader = StreamUsage(dialect, drops=False)
        assert [reader.feed(chunk) for chunk in chunks] == chunks
        assert reader.finish() == b""
        assert reader.told.usage() == usage
        assert reader.is_final


@pytest.mark.parametrize("end", ENDS, ids=["lf", "crlf", "cr"])
def test_the_usage_event_is_dropped_wherever_the_stream_is_cut_in_two(end: str) -> None:
    raw, without_usage = chat_stream(end)
    for cut in range(len(raw)):
        reader = StreamUsage(OPENAI_STREAM, drops=True)
        assert relay(reader, [raw[:cut], raw[cut:]]) == without_usage
        assert reader.told.usage() == Usage(20, 12, 33)


@settings(max_examples=300, deadline=None)
@given(
    case=st.sampled_from([param.values for param in STREAMS]),
    end=st.sampled_from(ENDS),
    cuts=st.lists(st.integers(0, 12_000), max_size=60),
    drops=st.booleans(),
)
def test_any_chunking_gives_the_same_output_usage_and_estimate(
    case: Any, end: str, cuts: list[int], drops: bool
) -> None:
    dialect, stream, usage = case
    raw = raw_of(stream, end)
    whole, cut = StreamUsage(dialect, drops=drops), StreamUsage(dialect, drops=drops)
    assert relay(whole, [raw]) == relay(cut, pieces(raw, cuts))
    assert whole.told == cut.told
    assert whole.partial_output_tokens() == cut.partial_output_tokens()
    assert cut.told.usage() == usage


MESSY_EVENTS = st.lists(
    st.sampled_from(
        [
            b"data: {}",
            b": comment",
            b"event: x\ndata: y",
            b"data: [DONE]",
            b"",
            b"id: 1\r\nretry: 5",
            b'data: {"choices":[],\r\ndata: "usage":{"prompt_tokens":1,"completion_tokens":2}}',
            b'data:{"choices":[],"usage":{"prompt_tokens":3}}',
            b'data: {"choices":[{}],"usage":{"prompt_tokens":4}}',
            b'data: {"choices":[{"delta":{"content":"\\"prompt_tokens\\""}}]}',
            b'data: {"prompt_tokens"',
        ]
    ),
    max_size=8,
)
MESSY_ENDS = st.sampled_from(
    [b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n", b"\r\r", b"\n", b"\r", b""]
)


@settings(max_examples=600, deadline=None)
@given(MESSY_EVENTS, st.data())
def test_any_chunking_of_any_mix_of_separators_gives_the_same(
    events: list[bytes], data: st.DataObject
) -> None:
    raw = b"".join(event + data.draw(MESSY_ENDS) for event in events)
    cuts = data.draw(st.lists(st.integers(0, max(1, len(raw))), max_size=30))
    whole, cut = StreamUsage(OPENAI_STREAM, drops=True), StreamUsage(OPENAI_STREAM, drops=True)
    assert relay(whole, [raw]) == relay(cut, pieces(raw, cuts))
    assert whole.told == cut.told


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_no_complete_event_is_ever_held_back(end: str) -> None:
    raw, _ = chat_stream(end)
    separator = (end + end).encode()
    reader = StreamUsage(OPENAI_STREAM, drops=True)
    forwarded = b""
    for at in range(len(raw)):
        forwarded += reader.feed(raw[at : at + 1])
        complete = raw[: at + 1].rfind(separator) + len(separator)
        assert len(forwarded) >= complete - len(event_with_usage(raw))


def event_with_usage(raw: bytes) -> bytes:
    """The one event that may be missing."""
    return next(e for e in raw.splitlines() if b'"choices":[]' in e) + b"\r\n\r\n"


KEPT = [
    pytest.param(chat_chunk({"content": "x"}, usage={"prompt_tokens": 1}), id="with-a-choice"),
    pytest.param(chat_chunk({}, choices=[]), id="no-usage"),
    pytest.param({"usage": {"prompt_tokens": 1}}, id="no-choices-member"),
    pytest.param({"choices": [], "usage": "prompt_tokens"}, id="usage-is-text"),
    pytest.param({"choices": {}, "usage": {"prompt_tokens": 1}}, id="choices-is-an-object"),
    pytest.param('{"choices":[],"usage":{"prompt_tokens":1}', id="broken-json"),
    pytest.param("[" * 5000 + '"prompt_tokens"', id="deep"),
]


@pytest.mark.parametrize("data", KEPT)
def test_an_event_that_tells_more_than_usage_is_never_dropped(data: object) -> None:
    reader = StreamUsage(OPENAI_STREAM, drops=True)
    assert relay(reader, [event(data)]) == event(data)


def test_a_usage_event_over_several_data_lines_with_comments_is_read_and_dropped() -> None:
    raw = (
        b': hello\nid: 7\ndata: {"choices": [],\ndata:  "usage": {"prompt_tokens": 4,\n'
        b'data: "completion_tokens": 2}}\n\n'
    )
    reader = StreamUsage(OPENAI_STREAM, drops=True)
    assert relay(reader, [raw]) == b""
    assert reader.told.usage() == Usage(4, 0, 2)


def test_a_usage_event_that_the_upstream_never_ended_is_still_read_and_dropped() -> None:
    raw, without_usage = chat_stream()
    cut = raw[: raw.index(b"data: [DONE]") - 1]
    reader = StreamUsage(OPENAI_STREAM, drops=True)
    assert relay(reader, [cut]) == without_usage[: -len(b"data: [DONE]\n\n")]
    assert reader.is_final


def test_an_incomplete_last_event_is_forwarded_at_the_end() -> None:
    reader = StreamUsage(OPENAI_STREAM, drops=True)
    assert reader.feed(b'data: {"choices":[{}') == b""
    assert reader.finish() == b'data: {"choices":[{}'


@pytest.mark.parametrize("step", [1 << 14, 1 << 20, 3 << 20])
def test_a_huge_event_is_forwarded_unread_and_what_follows_is_read(step: int) -> None:
    huge = event(chat_chunk({"content": "x" * (2 * MAX_EVENT_BYTES)}))
    huge_usage = event({"choices": [], "usage": {"prompt_tokens": 9}, "x": "y" * MAX_EVENT_BYTES})
    raw, without_usage = chat_stream()
    reader = StreamUsage(OPENAI_STREAM, drops=True)
    sent = huge + huge_usage + raw
    assert relay(reader, pieces(sent, list(range(0, len(sent), step)))) == (
        huge + huge_usage + without_usage
    )
    assert reader.told.usage() == Usage(20, 12, 33)


def test_what_is_held_of_a_huge_event_is_bounded() -> None:
    reader = StreamUsage(OPENAI_STREAM, drops=True)
    held = 0
    for _ in range(80):
        held += (1 << 16) - len(reader.feed(b"x" * (1 << 16)))
        assert held <= MAX_EVENT_BYTES + (1 << 16)
    assert held < 8


def test_a_stream_that_fails_keeps_what_it_told_and_is_not_final() -> None:
    raw = anthropic_stream()
    cut = raw[: raw.index(b"event: message_delta")]
    error = event({"type": "error", "error": {"type": "overloaded_error"}}, "error")
    reader = StreamUsage(ANTHROPIC_STREAM, drops=False)
    relay(reader, [cut + error])
    assert reader.told.usage() == Usage(112, 100, 1)
    assert not reader.is_final


def test_an_incomplete_response_tells_its_usage_too() -> None:
    for last in ("response.incomplete", "response.failed"):
        reader = StreamUsage(RESPONSES_STREAM, drops=False)
        relay(reader, [responses_stream(last=last)])
        assert reader.told.usage() == Usage(50, 30, 60)


# ── what an early leaver got ─────────────────────────────────────────────────────────────────


def long_words(count: int, words_each: int) -> list[str]:
    return ["lorem ipsum " * words_each for _ in range(count)]


def chat_words(words: list[str]) -> list[bytes]:
    return [event(chat_chunk({"content": word})) for word in words]


def tool_words(words: list[str]) -> list[bytes]:
    return [
        event(chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": word}}]}))
        for word in words
    ]


def anthropic_words(words: list[str]) -> list[bytes]:
    return [
        event(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": word},
            },
            "content_block_delta",
        )
        for word in words
    ]


def responses_words(words: list[str]) -> list[bytes]:
    return [event({"type": "response.output_text.delta", "delta": word}, "x") for word in words]


@pytest.mark.parametrize(
    ("dialect", "make"),
    [
        pytest.param(OPENAI_STREAM, chat_words, id="chat"),
        pytest.param(OPENAI_STREAM, tool_words, id="tool-calls"),
        pytest.param(ANTHROPIC_STREAM, anthropic_words, id="anthropic"),
        pytest.param(RESPONSES_STREAM, responses_words, id="responses"),
    ],
)
@pytest.mark.parametrize("words_each", [1, 4, 40])
def test_what_was_streamed_is_estimated_by_its_text_however_it_is_packed(
    dialect: StreamDialect, make: Any, words_each: int
) -> None:
    words = long_words(400 // words_each, words_each)
    reader = StreamUsage(dialect, drops=False)
    for chunk in make(words):
        reader.feed(chunk)
    true_tokens = len("".join(words)) // sse.BYTES_PER_TOKEN
    assert true_tokens * 0.95 <= reader.partial_output_tokens() <= true_tokens * 1.05


def test_a_token_an_event_is_the_least_that_is_charged() -> None:
    reader = StreamUsage(OPENAI_STREAM, drops=False)
    for chunk in chat_words(["a"] * 100):
        reader.feed(chunk)
    assert reader.partial_output_tokens() == 100


def test_events_that_repeat_the_text_are_not_charged_again() -> None:
    raw = responses_stream()
    reader = StreamUsage(RESPONSES_STREAM, drops=False)
    reader.feed(raw[: raw.index(b"event: response.output_text.done")])
    before = reader.partial_output_tokens()
    reader.feed(
        raw[
            raw.index(b"event: response.output_text.done") : raw.index(b"event: response.completed")
        ]
    )
    assert reader.partial_output_tokens() == before


def test_data_lines_are_joined_and_other_fields_left_out() -> None:
    assert (
        data_of(b"event: a\r\ndata: 1\r\n: c\r\ndata:2\r\nid: 3\r\ndata:  4\r\n\r\n") == b"1\n2\n 4"
    )


def test_the_streams_of_these_tests_are_valid() -> None:
    for raw in (chat_stream()[0], anthropic_stream(), responses_stream()):
        for piece in raw.split(b"\n\n"):
            data = data_of(piece)
            assert data in (b"", b"[DONE]") or json.loads(data)
