from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from dataclasses import replace

import pytest

from gateway.adapters.usage import (
    JSON_TAIL_BYTES,
    MAX_INFLATED_BYTES,
    MAX_JSON_BYTES,
    UsageReader,
    unanswered,
)
from gateway.model import Usage
from tests.core.builders import FACTS

from .streams import anthropic_stream, chat_stream, pieces, responses_stream

SSE = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
ESTIMATED = 1000


def reader(
    shape: str, content_type: bytes, coding: bytes = b"", *, hides_usage: bool = False
) -> UsageReader:
    return UsageReader(
        shape, content_type=content_type, content_encoding=coding, hides_usage=hides_usage
    )


def relay(usage_reader: UsageReader, chunks: list[bytes]) -> bytes:
    return b"".join([*map(usage_reader.feed, chunks), usage_reader.finish()])


def used(usage_reader: UsageReader) -> Usage:
    return usage_reader.usage(estimated_input_tokens=ESTIMATED)


def chat_answer(filling: str = "hi") -> bytes:
    message = {"role": "assistant", "content": filling}
    usage = {"prompt_tokens": 20, "completion_tokens": 33, "total_tokens": 53}
    return json.dumps({"id": "c", "choices": [{"message": message}], "usage": usage}).encode()


def messages_answer(filling: str = "hi") -> bytes:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 40}
    spoof = {"usage": {"input_tokens": 0, "output_tokens": 0}}
    content = [{"type": "text", "text": filling}, {"type": "tool_use", "input": spoof}]
    return json.dumps({"id": "m", "content": content, "usage": usage, "stop": None}).encode()


def embeddings_answer(count: int) -> bytes:
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return json.dumps({"data": [0.123456789] * count, "usage": usage}).encode()


JSON_ANSWERS = [
    pytest.param("chat", chat_answer(), Usage(20, 0, 33), id="chat"),
    pytest.param("completions", chat_answer(), Usage(20, 0, 33), id="completions"),
    pytest.param("responses", chat_answer(), Usage(20, 0, 33), id="responses"),
    pytest.param("messages", messages_answer(), Usage(105, 100, 40), id="messages"),
    pytest.param("embeddings", embeddings_answer(9), Usage(8, 0, None), id="embeddings"),
    pytest.param("embeddings", embeddings_answer(300_000), Usage(8, 0, None), id="large"),
    pytest.param("messages", messages_answer("x" * 3_000_000), Usage(105, 100, 40), id="tail"),
    pytest.param(
        "chat", chat_answer('"usage":{"prompt_tokens":1}' * 50_000), Usage(20, 0, 33), id="spoof"
    ),
    pytest.param("count_tokens", b'{"input_tokens":77}', Usage(0, 0, None), id="count-uses-none"),
    pytest.param("batch", b'{"id":"batch_1"}', Usage(), id="batch-is-used-later"),
    pytest.param("chat", b'{"id":"c"}', Usage(), id="not-told"),
    pytest.param("chat", b'{"usage":null}', Usage(), id="null"),
    pytest.param("chat", b'{"usage":[1]}', Usage(), id="list"),
    pytest.param("chat", b'{"usage":{"prompt_tokens":2', Usage(), id="cut-short"),
    pytest.param("chat", b"<html>", Usage(), id="no-json"),
    pytest.param("chat", b"", Usage(), id="empty"),
]


@pytest.mark.parametrize(("shape", "raw", "usage"), JSON_ANSWERS)
@pytest.mark.parametrize("step", [7_000, 65_536, 1 << 30])
def test_a_json_answer_is_forwarded_as_it_comes_and_its_usage_read(
    shape: str, raw: bytes, usage: Usage, step: int
) -> None:
    usage_reader = reader(shape, JSON)
    for chunk in pieces(raw, list(range(0, len(raw), step))):
        assert usage_reader.feed(chunk) is chunk
    assert usage_reader.finish() == b""
    assert used(usage_reader) == usage


def test_what_is_kept_of_a_large_json_answer_is_bounded() -> None:
    usage_reader = reader("embeddings", JSON)
    tracemalloc.start()
    try:
        for _ in range(400):
            usage_reader.feed(bytes(1 << 16))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2 * MAX_JSON_BYTES + 4 * JSON_TAIL_BYTES


STREAMS = [
    pytest.param("chat", chat_stream()[0], Usage(20, 12, 33), id="chat"),
    pytest.param("completions", chat_stream()[0], Usage(20, 12, 33), id="completions"),
    pytest.param("messages", anthropic_stream(), Usage(112, 100, 40), id="messages"),
    pytest.param("responses", responses_stream(), Usage(50, 30, 60), id="responses"),
]


@pytest.mark.parametrize(("shape", "raw", "usage"), STREAMS)
def test_a_stream_tells_its_usage(shape: str, raw: bytes, usage: Usage) -> None:
    usage_reader = reader(shape, SSE)
    assert relay(usage_reader, [raw]) == raw
    assert used(usage_reader) == usage


def test_usage_that_the_caller_did_not_ask_for_is_hidden() -> None:
    raw, without_usage = chat_stream()
    usage_reader = reader("chat", SSE, hides_usage=True)
    assert relay(usage_reader, [raw]) == without_usage
    assert used(usage_reader) == Usage(20, 12, 33)


@pytest.mark.parametrize(
    ("coding", "raw"),
    [
        pytest.param(b"gzip", gzip.compress(chat_stream()[0]), id="gzip"),
        pytest.param(b"deflate", zlib.compress(chat_stream()[0]), id="deflate"),
    ],
)
def test_a_compressed_answer_is_read_from_a_copy_and_forwarded_as_it_is(
    coding: bytes, raw: bytes
) -> None:
    for cut in range(0, len(raw), 11):
        usage_reader = reader("chat", SSE, coding, hides_usage=True)
        assert [usage_reader.feed(raw[:cut]), usage_reader.feed(raw[cut:])] == [
            raw[:cut],
            raw[cut:],
        ]
        assert usage_reader.finish() == b""
        assert used(usage_reader) == Usage(20, 12, 33)


def test_a_compressed_json_answer_is_read_too() -> None:
    usage_reader = reader("messages", JSON, b"GZIP")
    raw = gzip.compress(messages_answer())
    assert relay(usage_reader, [raw]) == raw
    assert used(usage_reader) == Usage(105, 100, 40)


UNREAD = [
    pytest.param(b"br", b"whatever", id="br"),
    pytest.param(b"zstd", b"whatever", id="zstd"),
    pytest.param(b"gzip", b"no gzip at all", id="broken"),
    pytest.param(b"gzip", gzip.compress(bytes(8 * MAX_INFLATED_BYTES)), id="bomb"),
]


@pytest.mark.parametrize(("coding", "raw"), UNREAD)
def test_what_cannot_be_read_is_forwarded_and_leaves_the_estimate(
    coding: bytes, raw: bytes
) -> None:
    usage_reader = reader("chat", JSON, coding)
    assert relay(usage_reader, [raw, raw]) == raw + raw
    assert used(usage_reader) == Usage()


@pytest.mark.parametrize(("shape", "raw", "usage"), STREAMS)
def test_an_early_leaver_is_charged_for_the_input_and_what_it_got(
    shape: str, raw: bytes, usage: Usage
) -> None:
    usage_reader = reader(shape, SSE)
    usage_reader.feed(raw[: len(raw) // 2])
    charged = used(usage_reader)
    assert charged.input_tokens == (112 if shape == "messages" else ESTIMATED)
    assert charged.output_tokens is not None
    assert 0 < charged.output_tokens < 60


def test_an_answer_of_another_kind_passes_through() -> None:
    assert relay(reader("batch", SSE), [b"data: x"]) == b"data: x"
    assert relay(reader("embeddings", SSE), [b"data: x"]) == b"data: x"


def test_who_leaves_before_the_answer_is_charged_for_what_was_sent_at_least() -> None:
    asked = replace(FACTS, estimated_input_tokens=40, estimated_output_tokens=900)
    assert unanswered(replace(asked, stream=True)) == Usage(input_tokens=40, output_tokens=0)
    assert unanswered(replace(asked, stream=False)) == unanswered(asked) == Usage()  # the estimate
