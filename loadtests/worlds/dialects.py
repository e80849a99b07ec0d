"""Requests and answers in each API's own shape, put together from bytes that are ready to send.

Text arrives escaped (`phrases.inside_json`), so nothing is encoded twice. `Shape` holds the fixed
parts as a client writes them: JavaScript and recent SDKs without spaces, Python's json with.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from dataclasses import dataclass
from functools import cache
from random import Random

from .seeds import hex_bytes, letter_bytes

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "embeddings": "/v1/embeddings",
}


def spaced(compact: bytes) -> bytes:
    """A fixed part of JSON as Python's json.dumps writes it; not for parts that hold text."""
    return compact.replace(b'":', b'": ').replace(b',"', b', "').replace(b",{", b", {")


@dataclass(frozen=True, slots=True)
class Shape:
    """Fixed parts of one dialect in one style; `%b` is where text goes."""

    user: bytes
    answer: bytes
    thoughtful: bytes
    tool_turn: bytes
    call: bytes
    result: bytes
    result_turn: bytes
    comma: bytes
    history: bytes  # what holds the turns: messages or input
    system: bytes | None  # a member of its own, or None where it is the first message
    system_message: bytes
    user_field: bytes
    safety_field: bytes
    chained: bytes


_USER = b'{"role":"user","content":"%b"}'
_SAFETY = b',"safety_identifier":"%b"'
_ANSWER = b'{"role":"assistant","content":"%b"}'
_PARTS: dict[str, dict[str, bytes | None]] = {
    "chat": {
        "user": _USER,
        "answer": _ANSWER,
        "thoughtful": _ANSWER,
        "tool_turn": b'{"role":"assistant","content":null,"tool_calls":[%b]}',
        "call": b'{"id":"%b","type":"function","function":{"name":"%b","arguments":"%b"}}',
        "result": b'{"role":"tool","tool_call_id":"%b","content":"%b"}',
        "result_turn": b"%b",
        "history": b'"messages":[',
        "system": None,
        "system_message": b'{"role":"system","content":"%b"}',
        "user_field": b',"user":"%b"',
        "chained": b"",
    },
    "messages": {
        "user": _USER,
        "answer": b'{"role":"assistant","content":[{"type":"text","text":"%b"}]}',
        "thoughtful": b'{"role":"assistant","content":[{"type":"thinking","thinking":"%b",'
        b'"signature":"%b"},{"type":"text","text":"%b"}]}',
        "tool_turn": b'{"role":"assistant","content":[%b]}',
        "call": b'{"type":"tool_use","id":"%b","name":"%b","input":%b}',
        "result": b'{"type":"tool_result","tool_use_id":"%b","content":"%b"}',
        "result_turn": b'{"role":"user","content":[%b]}',
        "history": b'"messages":[',
        "system": b'"system":"%b"',
        "system_message": b"",
        "user_field": b',"metadata":{"user_id":"%b"}',
        "chained": b"",
    },
    "responses": {
        "user": _USER,
        "answer": b'{"type":"message","id":"%b","role":"assistant","content":'
        b'[{"type":"output_text","text":"%b"}]}',
        "thoughtful": b'{"type":"reasoning","id":"%b","summary":[],"encrypted_content":"%b"},',
        "tool_turn": b"%b",
        "call": b'{"type":"function_call","call_id":"%b","name":"%b","arguments":"%b"}',
        "result": b'{"type":"function_call_output","call_id":"%b","output":"%b"}',
        "result_turn": b"%b",
        "history": b'"input":[',
        "system": b'"instructions":"%b"',
        "system_message": b"",
        "user_field": b',"safety_identifier":"%b"',
        "chained": b',"previous_response_id":"%b"',
    },
}
_PARTS["embeddings"] = {**_PARTS["chat"], "history": b'"input":[', "user": b'"%b"'}


@cache
def shape_of(dialect: str, is_spaced: bool) -> Shape:
    parts: dict[str, bytes | None] = {"comma": b",", "safety_field": _SAFETY, **_PARTS[dialect]}
    if is_spaced:
        parts = {name: None if part is None else spaced(part) for name, part in parts.items()}
        parts["comma"] = b", "
    return Shape(**parts)  # type: ignore[arg-type]


def tool_members(names: tuple[str, ...], arguments: list[str], dialect: str) -> list[object]:
    """Schemas of a tool set as the dialect wants them."""
    found: list[object] = []
    for index, name in enumerate(names):
        fields = [arguments[(index * 3 + n) % len(arguments)] for n in range(1 + index % 3)]
        schema = {
            "type": "object",
            "properties": {field: {"type": "string"} for field in dict.fromkeys(fields)},
            "required": fields[:1],
        }
        words = name.replace("_", " ")
        if dialect == "messages":
            tool: dict[str, object] = {"name": name, "description": f"{words}."}
            found.append({**tool, "input_schema": schema})
        elif dialect == "responses":
            head: dict[str, object] = {"type": "function", "name": name}
            found.append({**head, "description": f"{words}.", "parameters": schema})
        else:
            function = {"name": name, "description": f"{words}.", "parameters": schema}
            found.append({"type": "function", "function": function})
    return found


def dumped(value: object, *, is_spaced: bool, is_ascii: bool = False) -> bytes:
    separators = (", ", ": ") if is_spaced else (",", ":")
    return json.dumps(value, separators=separators, ensure_ascii=is_ascii).encode()


# ── what the model API hands out ─────────────────────────────────────────────────────────────


def call_id(rng: Random, dialect: str) -> bytes:
    """At least 130 bits that nobody can guess."""
    if dialect == "messages":
        return b"toolu_01" + letter_bytes(rng, 22)
    return b"call_" + letter_bytes(rng, 24)


def answer_id(rng: Random, dialect: str) -> bytes:
    if dialect == "messages":
        return b"msg_01" + letter_bytes(rng, 22)
    if dialect == "responses":
        return b"resp_" + hex_bytes(rng, 48)
    return b"chatcmpl-" + letter_bytes(rng, 29)


def item_id(rng: Random, prefix: bytes) -> bytes:
    return prefix + hex_bytes(rng, 48)


def signature(rng: Random, thought_bytes: int) -> bytes:
    """The seal of hidden reasoning: longer where more was thought."""
    return b2a_base64(rng.randbytes(150 + thought_bytes // 3), newline=False)


_USAGE = {
    "messages": b'"usage":{"input_tokens":%d,"cache_creation_input_tokens":0,'
    b'"cache_read_input_tokens":%d,"output_tokens":%d}',
    "responses": b'"usage":{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d},'
    b'"output_tokens":%d}',
    "chat": b'"usage":{"prompt_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d},'
    b'"completion_tokens":%d}',
}
_HEADS = {
    "messages": b'{"id":"%b","type":"message","role":"assistant","model":"%b","content":[',
    "responses": b'{"id":"%b","object":"response","status":"completed","model":"%b","output":[',
    "chat": b'{"id":"%b","object":"chat.completion","model":"%b","choices":[{"index":0,"message":',
}
_TAILS = {
    "messages": b'],"stop_reason":"%b","stop_sequence":null,%b}',
    "responses": b'],"error":null,%b}',
    "chat": b',"finish_reason":"%b"}],%b}',
}


def answer_body(
    dialect: str,
    content: bytes,
    *,
    answer: bytes,
    model: bytes,
    calls_tools: bool,
    tokens: tuple[int, int, int],
) -> bytes:
    """The whole answer around its content. `tokens`: input, cached input, output."""
    usage = _USAGE[dialect] % tokens
    head = _HEADS[dialect] % (answer, model)
    if dialect == "responses":
        return head + content + _TAILS[dialect] % usage
    if dialect == "messages":
        reason = b"tool_use" if calls_tools else b"end_turn"
    else:
        reason = b"tool_calls" if calls_tools else b"stop"
    return head + content + _TAILS[dialect] % (reason, usage)


def error_body(dialect: str, status: int) -> bytes:
    """The error object of the model API for an upstream fault."""
    if dialect == "messages":
        kinds = {429: b"rate_limit_error", 529: b"overloaded_error"}
        kind = kinds.get(status, b"api_error")
        return b'{"type":"error","error":{"type":"%b","message":"Try again later."}}' % kind
    kind = b"rate_limit_error" if status == 429 else b"server_error"
    return b'{"error":{"message":"Try again later.","type":"%b","param":null,"code":null}}' % kind
