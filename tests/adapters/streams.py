"""Answers as the vendors stream them, for the tests of usage reading."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

WORDS = ["Hello", ",", " world", ' "quoted"', " data: x", "\n\n", " \u4f60\u597d", "."] * 4


def event(data: object, name: str | None = None, end: str = "\n") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    head = "" if name is None else f"event: {name}{end}"
    return f"{head}data: {text}{end}{end}".encode()


def chat_chunk(delta: dict[str, Any], **members: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1"}
    return {**head, "choices": [choice], "usage": None, **members}


CHAT_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 33,
    "total_tokens": 53,
    "prompt_tokens_details": {"cached_tokens": 12},
}


def chat_stream(end: str = "\n") -> tuple[bytes, bytes]:
    """A chat stream with usage asked for, and the same without its usage event."""
    first = event(chat_chunk({"role": "assistant", "content": ""}), end=end)
    words = b"".join(event(chat_chunk({"content": word}), end=end) for word in WORDS)
    stop = chat_chunk({})
    stop["choices"][0]["finish_reason"] = "stop"
    body = f": keep-alive{end}{end}".encode() + first + words + event(stop, end=end)
    usage = event(chat_chunk({}, choices=[], usage=CHAT_USAGE), end=end)
    done = event("[DONE]", end=end)
    return body + usage + done, body + done


def anthropic_stream(end: str = "\n") -> bytes:
    start_usage = {
        "input_tokens": 5,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 100,
        "output_tokens": 1,
    }
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": start_usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
    ]
    for word in WORDS:
        delta = {"type": "text_delta", "text": word}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events += [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 40},
        },
        {"type": "message_stop"},
    ]
    return b"".join(event(data, data["type"], end) for data in events)


def responses_stream(end: str = "\n", last: str = "response.completed") -> bytes:
    response: dict[str, Any] = {"id": "resp_1", "status": "in_progress", "usage": None}
    text = "".join(WORDS)
    usage = {
        "input_tokens": 50,
        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 0},
        "output_tokens": 60,
        "output_tokens_details": {"reasoning_tokens": 9},
        "total_tokens": 110,
    }
    events: list[dict[str, Any]] = [{"type": "response.created", "response": response}]
    events += [{"type": "response.output_text.delta", "delta": word} for word in WORDS]
    events.append({"type": "response.output_text.done", "text": text})
    done = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    events.append({"type": "response.output_item.done", "item": done})
    completed = {**response, "status": "completed", "output": [done], "usage": usage}
    events.append({"type": last, "response": completed})
    return b"".join(event(data, data["type"], end) for data in events)


def pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes cut at the given places, in any order; places beyond the end do nothing."""
    places = sorted({0, *(cut for cut in cuts if cut < len(raw)), len(raw)})
    return [raw[start:end] for start, end in pairwise(places)]
