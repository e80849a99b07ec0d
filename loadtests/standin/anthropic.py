"""The Anthropic dialect of the stand-in."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from typing import Any

from .openai import Chunk, event
from .script import Answer

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def error(status: int, message: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_" + secrets.token_hex(12),
    }


def _usage(answer: Answer, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }


def _blocks(body: dict[str, Any], answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    thinking = body.get("thinking") or {}
    if thinking.get("type") in ("enabled", "adaptive"):
        signature = base64.b64encode(secrets.token_bytes(96)).decode()
        blocks.append(
            {"type": "thinking", "thinking": "Let me think it through.", "signature": signature}
        )
    if answer.tool is None:
        blocks.append({"type": "text", "text": answer.text})
    else:
        blocks.append(
            {
                "type": "tool_use",
                "id": answer.new_id("toolu_"),
                "name": answer.tool["name"],
                "input": answer.tool["arguments"],
            }
        )
    return blocks


def _stop_reason(answer: Answer) -> str:
    if answer.tool:
        return "tool_use"
    return "max_tokens" if answer.is_cut else "end_turn"


def message(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    return {
        "id": answer.new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": _blocks(body, answer),
        "stop_reason": _stop_reason(answer),
        "stop_sequence": None,
        "usage": _usage(answer, answer.output_tokens),
    }


def message_stream(body: dict[str, Any], answer: Answer) -> Iterator[Chunk]:
    whole = message(body, answer)
    start = {**whole, "content": [], "stop_reason": None, "usage": _usage(answer, 1)}
    yield _named("message_start", message=start), 0
    yield _named("ping"), 0
    for index, block in enumerate(whole["content"]):
        yield from _block_stream(index, block, answer)
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    final = {"output_tokens": answer.output_tokens}
    yield _named("message_delta", delta=delta, usage=final), 0
    yield _named("message_stop"), 0


def _block_stream(index: int, block: dict[str, Any], answer: Answer) -> Iterator[Chunk]:
    kind = block["type"]
    empty = {
        "text": {"type": "text", "text": ""},
        "thinking": {"type": "thinking", "thinking": "", "signature": ""},
        "tool_use": {**block, "input": {}},
    }[kind]
    yield _named("content_block_start", index=index, content_block=empty), 0
    if kind == "text":
        for position, word in enumerate(answer.words):
            text = word if position == 0 else f" {word}"
            delta = {"type": "text_delta", "text": text}
            yield _named("content_block_delta", index=index, delta=delta), 1
    elif kind == "thinking":
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        yield _named("content_block_delta", index=index, delta=thought), 1
        signature = {"type": "signature_delta", "signature": block["signature"]}
        yield _named("content_block_delta", index=index, delta=signature), 0
    else:
        text = json.dumps(block["input"])
        for start in range(0, len(text), 8):
            delta = {"type": "input_json_delta", "partial_json": text[start : start + 8]}
            yield _named("content_block_delta", index=index, delta=delta), 1
    yield _named("content_block_stop", index=index), 0


def _named(name: str, **fields: Any) -> bytes:
    return event({"type": name, **fields}, name)


def count_tokens(answer: Answer) -> dict[str, Any]:
    return {"input_tokens": answer.input_tokens}


def batch(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    asked = body.get("requests")
    count = len(asked) if isinstance(asked, list) else 0
    counts = {"processing": count, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    return {
        "id": answer.new_id("msgbatch_"),
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": counts,
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-02T00:00:00Z",
        "archived_at": None,
        "cancel_initiated_at": None,
        "ended_at": None,
        "results_url": None,
    }


def models(names: tuple[str, ...]) -> dict[str, Any]:
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "2026-01-01T00:00:00Z",
        }
        for name in names
    ]
    return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
