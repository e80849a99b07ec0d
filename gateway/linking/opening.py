"""How a conversation begins: its system prompt and its first question, in any dialect.

Bounded: entries beyond the first few and text beyond `MAX_BYTES` are not read. What cannot be
read is empty; whether a body is acceptable was decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from ..model import record

MAX_BYTES = 65_536
MAX_ENTRIES_LOOKED_AT = 4
_SYSTEM_ROLES = frozenset({"system", "developer"})


@record
class Opening:
    """Both as raw JSON (a string, or a list of parts); empty where there is none."""

    system: bytes = b""
    question: bytes = b""
    is_first: bool = False  # it is known that none of the entries is the model's own


NO_OPENING = Opening()


class _Message(msgspec.Struct):
    role: str = ""
    content: Raw = Raw(b"null")


class _Turn(_Message):
    type: str = ""


class _Part(msgspec.Struct):
    text: str = ""


_entries = msgspec.json.Decoder(list[Raw])
_message = msgspec.json.Decoder(_Message)
_turns = msgspec.json.Decoder(list[_Turn])
_parts = msgspec.json.Decoder(list[_Part])
_string = msgspec.json.Decoder(str)


def read_opening(members: Mapping[str, bytes | memoryview]) -> Opening:
    """Of a chat, Responses, messages or completions body."""
    system = question = b""
    for name in ("system", "instructions"):
        if name in members:
            system = bytes(members[name][:MAX_BYTES])
    raw = members.get("messages") or members.get("input")
    turns = _all_turns(raw)
    for message in _first_messages(raw) if turns is None else turns[:MAX_ENTRIES_LOOKED_AT]:
        if message.role in _SYSTEM_ROLES:
            system = system or bytes(message.content)
        elif message.role == "user":
            question = bytes(message.content)
            break
    if not question:
        raw = members.get("input") or members.get("prompt")
        if raw is not None and bytes(raw[:1]) == b'"':
            question = bytes(raw[:MAX_BYTES])
    return Opening(system, question, turns is not None and not any(map(_is_answer, turns)))


def is_made_by_model(role: str, type_: str) -> bool:
    """Whether an entry of a conversation is the model's own, in any dialect."""
    return role == "assistant" or type_ in ("reasoning", "function_call")


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


def beginning_of(raw: bytes, most_chars: int) -> str | None:
    """`text_of(raw)[:most_chars]`, whatever the length of the text, for a few microseconds; None
    where that takes reading all of it: parts, other than ASCII, what was cut off."""
    if raw[:1] != b'"' or len(raw) >= MAX_BYTES or not raw.isascii():
        return None
    most_bytes = 1 + 6 * most_chars  # of an escaped character
    if len(raw) <= most_bytes:
        return text_of(raw)[:most_chars]
    cut = raw[:most_bytes]
    escape = cut.rfind(b"\\", most_bytes - 12)  # no escape, nor a pair of them, may be cut in two
    try:
        text = _string.decode((cut if escape < 0 else cut[:escape]) + b'"')
    except msgspec.MsgspecError:
        return None
    return text[:most_chars] if len(text) >= most_chars else None


def _is_answer(turn: _Turn) -> bool:
    return is_made_by_model(turn.role, turn.type)


def _all_turns(raw: bytes | memoryview | None) -> list[_Turn] | None:
    """Of a conversation that is short and whose entries are all what they should be, read in one
    go; None of others, which are taken apart entry by entry."""
    if raw is None or len(raw) > MAX_BYTES or raw[:1] != b"[":
        return None
    try:
        return _turns.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _first_messages(raw: bytes | memoryview | None) -> list[_Message]:
    if raw is None or bytes(raw[:1]) != b"[":
        return []
    try:
        entries = _entries.decode(raw)[:MAX_ENTRIES_LOOKED_AT]
        return [_message.decode(entry) for entry in entries if len(entry) <= MAX_BYTES]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
