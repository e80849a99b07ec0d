"""The OpenAI dialect of the stand-in."""

from __future__ import annotations

import array
import base64
import json
from collections.abc import Iterator
from typing import Any

from .script import Answer

CREATED = 1_760_000_000
EMBEDDING_SIZE = 8
Chunk = tuple[bytes, int]
"""Bytes of one event, and how many tokens it carries (for pacing)."""


def event(data: dict[str, Any] | str, name: str | None = None) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def error(status: int, message: str) -> dict[str, Any]:
    kinds = {401: "invalid_request_error", 429: "rate_limit_error"}
    codes = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": codes.get(status)}}


def usage(answer: Answer, choices: int = 1) -> dict[str, Any]:
    out = answer.output_tokens * choices
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": out,
        "total_tokens": answer.input_tokens + out,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def chat(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    choices = int(body.get("n") or 1)
    return {
        "id": answer.new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": CREATED,
        "model": answer.model,
        "choices": [
            {
                "index": index,
                "message": _message(answer),
                "logprobs": None,
                "finish_reason": _finish_reason(answer),
            }
            for index in range(choices)
        ],
        "usage": usage(answer, choices),
    }


def _finish_reason(answer: Answer) -> str:
    if answer.tool:
        return "tool_calls"
    return "length" if answer.is_cut else "stop"


def _message(answer: Answer) -> dict[str, Any]:
    if answer.tool is None:
        return {"role": "assistant", "content": answer.text, "refusal": None}
    return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [_call(answer)]}


def _call(answer: Answer) -> dict[str, Any]:
    tool = answer.tool or {}
    return {
        "id": answer.new_id("call_"),
        "type": "function",
        "function": {"name": tool["name"], "arguments": json.dumps(tool["arguments"])},
    }


def chat_stream(body: dict[str, Any], answer: Answer) -> Iterator[Chunk]:
    options = body.get("stream_options") or {}
    choices = int(body.get("n") or 1)
    tells_usage = bool(options.get("include_usage"))
    head = {
        "id": answer.new_id("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": answer.model,
    }

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event({**head, "choices": [choice]} | ({"usage": None} if tells_usage else {}))

    for index in range(choices):
        content = "" if answer.tool is None else None
        yield chunk(index, {"role": "assistant", "content": content}), 0
        for delta in _deltas(answer):
            yield chunk(index, delta), 1
        yield chunk(index, {}, _finish_reason(answer)), 0
    if tells_usage:
        yield event({**head, "choices": [], "usage": usage(answer, choices)}), 0
    yield event("[DONE]"), 0


def _deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.tool is None:
        for index, word in enumerate(answer.words):
            yield {"content": word if index == 0 else f" {word}"}
        return
    call = _call(answer)
    arguments = call["function"]["arguments"]
    call["function"]["arguments"] = ""
    yield {"tool_calls": [{"index": 0, **call}]}
    for start in range(0, len(arguments), 8):
        part = {"index": 0, "function": {"arguments": arguments[start : start + 8]}}
        yield {"tool_calls": [part]}


def responses(body: dict[str, Any], answer: Answer, *, status: str = "completed") -> dict[str, Any]:
    if answer.tool is not None:
        item: dict[str, Any] = {
            "type": "function_call",
            "id": answer.new_id("fc_"),
            "call_id": answer.new_id("call_"),
            "name": answer.tool["name"],
            "arguments": json.dumps(answer.tool["arguments"]),
            "status": "completed",
        }
    else:
        part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
        item = {
            "type": "message",
            "id": answer.new_id("msg_"),
            "status": "completed",
            "role": "assistant",
            "content": [part],
        }
    is_done = status == "completed"
    return {
        "id": answer.new_id("resp_"),
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": [item] if is_done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": answer.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.input_tokens + answer.output_tokens,
        }
        if is_done
        else None,
    }


def responses_stream(body: dict[str, Any], answer: Answer) -> Iterator[Chunk]:
    number = 0

    def named(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return event({"type": kind, "sequence_number": number - 1, **fields}, kind)

    begun = responses(body, answer, status="in_progress")
    done = responses(body, answer) | {"id": begun["id"]}
    item = done["output"][0]
    yield named("response.created", response=begun), 0
    yield named("response.in_progress", response=begun), 0
    at = {"output_index": 0, "item_id": item["id"]}
    if item["type"] == "message":
        empty = {**item, "status": "in_progress", "content": []}
        yield named("response.output_item.added", output_index=0, item=empty), 0
        part = {"type": "output_text", "text": "", "annotations": []}
        yield named("response.content_part.added", **at, content_index=0, part=part), 0
        for index, word in enumerate(answer.words):
            delta = word if index == 0 else f" {word}"
            yield (
                named(
                    "response.output_text.delta", **at, content_index=0, delta=delta, logprobs=[]
                ),
                1,
            )
        text = answer.text
        yield (
            named("response.output_text.done", **at, content_index=0, text=text, logprobs=[]),
            0,
        )
        yield (
            named("response.content_part.done", **at, content_index=0, part=item["content"][0]),
            0,
        )
    else:
        begun_item = {**item, "status": "in_progress", "arguments": ""}
        yield named("response.output_item.added", output_index=0, item=begun_item), 0
        arguments = item["arguments"]
        yield named("response.function_call_arguments.delta", **at, delta=arguments), 1
        name = item["name"]
        yield (
            named("response.function_call_arguments.done", **at, arguments=arguments, name=name),
            0,
        )
    yield named("response.output_item.done", output_index=0, item=item), 0
    yield named("response.completed", response=done), 0


def embeddings(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    given = body.get("input")
    count = len(given) if isinstance(given, list) and given and not isinstance(given[0], int) else 1
    return {
        "object": "list",
        "model": answer.model,
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _embedding(body, answer),
            }
            for index in range(count)
        ],
        "usage": {"prompt_tokens": answer.input_tokens, "total_tokens": answer.input_tokens},
    }


def _embedding(body: dict[str, Any], answer: Answer) -> list[float] | str:
    """In the encoding asked for; the SDK asks for base64 of little-endian floats."""
    size = int(body.get("dimensions") or EMBEDDING_SIZE)
    vector = [round(answer.rng.uniform(-1, 1), 6) for _ in range(size)]
    if body.get("encoding_format") != "base64":
        return vector
    return base64.b64encode(array.array("f", vector).tobytes()).decode()


def models(names: tuple[str, ...]) -> dict[str, Any]:
    return {"object": "list", "data": [model(name) for name in names]}


def model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "stand-in"}
