"""The parts of a request that a classifier looks at: roles, and where its instructions stand.

Bounded: of a conversation the first and the last few turns are read, of each text its ends. What
cannot be read is left out; whether a body is acceptable was decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Raw

TURNS_AT_EACH_END = 3
_SYSTEM_ROLES = frozenset({"system", "developer"})
_TOOL_ROLES = frozenset({"tool", "function"})
_ASSISTANT_TYPES = frozenset({"function_call", "reasoning"})
_RESULT_LOOKED_AT_BYTES = 256
_LIST = ord("[")
LONG_BYTES = 16_384
_BEGINNING_BYTES = 128
_BEGINNING = re.compile(rb'\{ ?"role" ?: ?"([a-z]{1,16})" ?, ?"content" ?: ?')


class Body(Protocol):
    """What of a body a surface has decoded already: nothing is parsed twice. `turns` are the
    entries of its messages or input, unparsed; `members` all top-level values."""

    shape: str
    stream: bool | None
    items: int
    tool_count: int | None
    max_output_tokens: int | None
    choices: int
    temperature: float | None
    end_user: str | None
    members: Mapping[str, Raw]
    turns: Sequence[Raw]


class _Turn(msgspec.Struct):
    role: str = ""
    type: str = ""
    content: Raw = Raw(b"")


class Parts(msgspec.Struct, gc=False):
    """Texts are raw JSON: a string or a list of parts, empty where there is none. `question` is
    the first thing that a user says, `latest` the last one where that is another turn."""

    system: memoryview
    question: memoryview
    latest: memoryview
    turn_count: int = 0
    has_assistant: bool = False
    has_tool_results: bool = False
    ends_with_assistant: bool = False


_turn = msgspec.json.Decoder(_Turn)
_NO_TEXT = memoryview(b"")


def parts_of(body: Body) -> Parts:
    """Of a chat, Responses, messages or completions body."""
    members, turns = body.members, body.turns
    named = members.get("system") or members.get("instructions")
    system = memoryview(named) if named else _NO_TEXT
    parts = Parts(system, _NO_TEXT, _NO_TEXT, len(turns))
    for raw in _ends(turns) if len(turns) > 2 * TURNS_AT_EACH_END else turns:
        turn = _decoded(raw)
        if turn is not None:
            _read_turn(turn, parts)
    if not parts.question:
        said = members.get("input") or members.get("prompt")
        if said is not None and not (turns and parts.turn_count > 1):
            parts.question = memoryview(said)
    return parts


def _ends(turns: Sequence[Raw]) -> Sequence[Raw]:
    return [*turns[:TURNS_AT_EACH_END], *turns[-TURNS_AT_EACH_END:]]


def _decoded(raw: Raw) -> _Turn | None:
    """None where it cannot be read. A long turn is not parsed to its end where its role and
    content come first: its text is whatever follows then, of which only the ends are read."""
    if len(raw) > LONG_BYTES:
        view = memoryview(raw)
        begins = _BEGINNING.match(view[:_BEGINNING_BYTES])
        if begins is not None:
            return _Turn(begins[1].decode(), content=Raw(view[begins.end() : -1]))
    try:
        return _turn.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _read_turn(turn: _Turn, parts: Parts) -> None:
    role = turn.role
    parts.ends_with_assistant = False
    if role == "user":
        content = memoryview(turn.content)
        if _begins_with_result(content):
            parts.has_tool_results = True
        elif not parts.question:
            parts.question = content
        else:
            parts.latest = content
    elif role in _SYSTEM_ROLES:
        if not parts.system:
            parts.system = memoryview(turn.content)
    elif role == "assistant" or turn.type in _ASSISTANT_TYPES:
        parts.has_assistant = parts.ends_with_assistant = True
    elif role in _TOOL_ROLES or turn.type == "function_call_output":
        parts.has_tool_results = True


def _begins_with_result(content: memoryview) -> bool:
    if not content or content[0] != _LIST:
        return False
    return b'"tool_result"' in bytes(content[:_RESULT_LOOKED_AT_BYTES])
