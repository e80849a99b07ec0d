"""How a conversation begins: its system prompt and its first question, in any dialect.

Bounded: entries beyond the first few and text beyond `MAX_BYTES` are not read. What cannot be
read is empty; whether a body is acceptable was decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from msgspec import Raw

MAX_BYTES = 65_536
MAX_ENTRIES_LOOKED_AT = 4
_SYSTEM_ROLES = frozenset({"system", "developer"})


@dataclass(frozen=True, slots=True)
class Opening:
    """Both as raw JSON (a string, or a list of parts); empty where there is none."""

    system: bytes = b""
    question: bytes = b""


NO_OPENING = Opening()


class _Message(msgspec.Struct):
    role: str = ""
    content: Raw = Raw(b"null")


class _Part(msgspec.Struct):
    text: str = ""


_entries = msgspec.json.Decoder(list[Raw])
_message = msgspec.json.Decoder(_Message)
_parts = msgspec.json.Decoder(list[_Part])
_string = msgspec.json.Decoder(str)


def read_opening(members: Mapping[str, bytes | memoryview]) -> Opening:
    """Of a chat, Responses, messages or completions body."""
    system = question = b""
    for name in ("system", "instructions"):
        if name in members:
            system = bytes(members[name][:MAX_BYTES])
    for message in _first_messages(members):
        if message.role in _SYSTEM_ROLES:
            system = system or bytes(message.content)
        elif message.role == "user":
            question = bytes(message.content)
            break
    if not question:
        raw = members.get("input") or members.get("prompt")
        if raw is not None and bytes(raw[:1]) == b'"':
            question = bytes(raw[:MAX_BYTES])
    return Opening(system, question)


def text_of(raw: bytes) -> str:
    """The text of a string or of the parts of a list; "" of anything else."""
    try:
        if raw[:1] == b'"':
            return _string.decode(raw)
        if raw[:1] == b"[":
            return "\n".join([part.text for part in _parts.decode(raw)])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return ""


def _first_messages(members: Mapping[str, bytes | memoryview]) -> list[_Message]:
    raw = members.get("messages") or members.get("input")
    if raw is None or bytes(raw[:1]) != b"[":
        return []
    try:
        entries = _entries.decode(raw)[:MAX_ENTRIES_LOOKED_AT]
        return [_message.decode(entry) for entry in entries if len(entry) <= MAX_BYTES]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
