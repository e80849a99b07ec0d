"""How a conversation begins: its system prompt and its first question, in any dialect; and its
entries, where they are read in one go.

Bounded: entries beyond the first few and text beyond `MAX_BYTES` are not read. What cannot be
read is empty; whether a body is acceptable was decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from ..model import record

MAX_BYTES = 65_536
MAX_ENTRIES_LOOKED_AT = 4
NOTHING = Raw(b"null")
TEXT, LIST = b'"['
_SYSTEM_ROLES = frozenset({"system", "developer"})
_MADE_BY_MODEL = frozenset({"reasoning", "function_call"})

Members = Mapping[str, bytes | memoryview | Raw]
"""Of a body: its top-level values as raw JSON, by name."""


class Entry(msgspec.Struct, gc=False):
    """A message or an item of any dialect, as far as it matters here."""

    role: str = ""
    type: str = ""
    id: str | None = None
    call_id: str | None = None
    content: Raw = NOTHING
    tool_calls: Raw = NOTHING
    encrypted_content: str | None = None


@record
class Opening:
    """Both as raw JSON (a string, or a list of parts); empty where there is none."""

    system: bytes = b""
    question: bytes = b""
    is_first: bool = False  # it is known that none of the entries is the model's own
    entries: Sequence[Entry] | None = None  # all of them, where that is known to be so


NO_OPENING = Opening()


class _Message(msgspec.Struct):
    role: str = ""
    content: Raw = NOTHING


class _Part(msgspec.Struct):
    text: str = ""


_raw_entries = msgspec.json.Decoder(list[Raw])
_message = msgspec.json.Decoder(_Message)
_entries = msgspec.json.Decoder(list[Entry])
_parts = msgspec.json.Decoder(list[_Part])
_string = msgspec.json.Decoder(str)


def read_opening(members: Members) -> Opening:
    """Of a chat, Responses, messages or completions body."""
    system = question = b""
    for name in ("system", "instructions"):
        if name in members:
            system = bytes(memoryview(members[name])[:MAX_BYTES])
    raw = members.get("messages") or members.get("input")
    entries = None if raw is None else _all_entries(raw)
    for message in _first_messages(raw) if entries is None else entries[:MAX_ENTRIES_LOOKED_AT]:
        if message.role in _SYSTEM_ROLES:
            system = system or bytes(message.content)
        elif message.role == "user":
            question = bytes(message.content)
            break
    if not question:
        raw = members.get("input") or members.get("prompt")
        if raw is not None and kind_of(raw) == TEXT:
            question = bytes(memoryview(raw)[:MAX_BYTES])
    if entries is None:
        return Opening(system, question)
    return Opening(system, question, not any(map(is_made_by_model, entries)), entries)


def is_made_by_model(entry: Entry) -> bool:
    return entry.role == "assistant" or entry.type in _MADE_BY_MODEL


def kind_of(raw: bytes | memoryview | Raw) -> int:
    """The first byte of a value as raw JSON, which tells its type; 0 of none."""
    return memoryview(raw)[0] if len(raw) else 0


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


def plain_beginning_of(raw: bytes, size: int) -> bytes | None:
    """How `text_of(raw)` begins, read off the first `size` bytes of it; None where those are not
    ASCII, hold another escape than of a line, a tab or a quote, or are not there."""
    if raw[:1] != b'"' or not size + 2 <= len(raw) < MAX_BYTES:
        return None
    beginning = raw[1 : 1 + size]
    if not beginning.isascii():
        return None
    if b"\\" in beginning:
        if b"\\\\" in beginning:
            return None
        beginning = beginning.replace(b"\\n", b"\n").replace(b'\\"', b'"').replace(b"\\t", b"\t")
        beginning = beginning.removesuffix(b"\\")  # an escape that was cut
        if b"\\" in beginning:
            return None
    return beginning


def beginning_of(raw: bytes, most_chars: int) -> str | None:
    """`text_of(raw)[:most_chars]`, whatever the length of the text, for a few microseconds; None
    where that takes reading all of it: parts, what was cut off, characters of two escapes."""
    if raw[:1] != b'"' or len(raw) >= MAX_BYTES:
        return None
    most_bytes = 1 + 6 * most_chars  # of an escaped character
    if len(raw) <= most_bytes:
        return text_of(raw)[:most_chars]
    cut = raw[:most_bytes]
    escape = cut.rfind(b"\\", most_bytes - 12)  # no escape, nor a pair of them, may be cut in two
    whole = cut if escape < 0 else cut[:escape]
    try:
        text = _string.decode(_whole_characters(whole) + b'"')
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return text[:most_chars] if len(text) >= most_chars else None


def _whole_characters(raw: bytes) -> bytes:
    """Without what may be half a character at the end of UTF-8."""
    for back in range(1, 5):
        if raw[-back] < 0x80:
            return raw[: len(raw) - back + 1]
        if raw[-back] >= 0xC0:
            return raw[:-back]
    return raw


def _all_entries(raw: bytes | memoryview | Raw) -> list[Entry] | None:
    """Of a conversation that is short and whose entries are all what they should be, read in one
    go; None of others, which are taken apart entry by entry."""
    if len(raw) > MAX_BYTES or kind_of(raw) != LIST:
        return None
    try:
        return _entries.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _first_messages(raw: bytes | memoryview | Raw | None) -> list[_Message]:
    if raw is None or kind_of(raw) != LIST:
        return []
    try:
        entries = _raw_entries.decode(raw)[:MAX_ENTRIES_LOOKED_AT]
        return [_message.decode(entry) for entry in entries if len(entry) <= MAX_BYTES]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
