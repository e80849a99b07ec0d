"""The artefacts of an answer, whole or streamed, in any dialect.

A stream is read once it is over, by pattern: what is wanted of its hundreds of events is a few
members. What cannot be read yields nothing.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Raw, Struct

from .artefacts import BROKEN, Block, artefacts_of
from .opening import NOTHING, Entry

LEAST_ANSWER_BYTES = 16  # what is shorter holds no id
MAX_ANSWER_BYTES = 262_144  # larger answers are not read
MAX_ENTRIES = 32
_STRING = rb'"([^"\\]*(?:\\.[^"\\]*)*)"'  # a step for each escape, not for each character
_TEXT_DELTA = re.compile(rb'"text":\s?' + _STRING)
_CONTENT_DELTA = re.compile(rb'"content":\s?' + _STRING)
_SIGNATURE = re.compile(rb'"signature":\s?"([^"\\]+)"')
_BLOCK_ID = re.compile(rb'"content_block":\s?\{[^{}]*?"id":\s?"([^"\\]+)"')
_CALL_ID = re.compile(rb'"tool_calls":\s?\[\{[^{}]*?"id":\s?"([^"\\]+)"')
_COMPLETED = b'"response.completed"'  # within a text of the model's its quotes would be escaped
_DATA = b"data:"


class _Choice(Struct):
    message: Entry = msgspec.field(default_factory=Entry)


class _Answer(Struct):
    """Any dialect's: a message itself, or one in `choices`, or items in `output`."""

    id: str | None = None
    role: str = ""
    content: Raw = NOTHING
    choices: list[_Choice] = []
    output: list[Raw] = []


class _Completed(Struct):
    response: Raw = NOTHING


_answer = msgspec.json.Decoder(_Answer)
_completed = msgspec.json.Decoder(_Completed)
_entry = msgspec.json.Decoder(Entry)
_text = msgspec.json.Decoder(str)


def is_an_answer(raw: bytes | Raw) -> bool:
    """Whether it is worth reading, by its length."""
    return LEAST_ANSWER_BYTES <= len(raw) <= MAX_ANSWER_BYTES


def issued_in(raw: bytes | Raw) -> list[str]:
    """Of an answer as JSON."""
    if not is_an_answer(raw):
        return []
    try:
        answer = _answer.decode(raw)
        if answer.output:  # the answer's own id is what `previous_response_id` names
            entries = [Entry(id=answer.id), *map(_entry.decode, answer.output[:MAX_ENTRIES])]
        elif answer.choices:
            entries = [answer.choices[0].message]
        else:
            entries = [Entry(role=answer.role, content=answer.content)]
        return artefacts_of(entries)
    except BROKEN:
        return []


def issued_in_stream(raw: bytes) -> list[str]:
    """Of a stream of server-sent events, as it was forwarded."""
    if len(raw) > MAX_ANSWER_BYTES:
        return []
    try:
        completed = raw.rfind(_COMPLETED)
        if completed >= 0:
            return issued_in(_completed.decode(_event_at(raw, completed)).response)
        blocks = _chat_blocks(raw) if _holds(raw, b'"choices"') else _message_blocks(raw)
        return artefacts_of([Entry(content=Raw(msgspec.json.encode(blocks)))])
    except BROKEN:
        return []


def _holds(raw: bytes, name: bytes) -> bool:
    """From the end, which CPython looks through five times as fast as from the beginning."""
    return raw.rfind(name) >= 0


def _event_at(raw: bytes, place: int) -> bytes:
    """The data of the event that is sent there; b"" where none is."""
    end = raw.find(b"\n", place)
    line = raw[raw.rfind(b"\n", 0, place) + 1 : end if end >= 0 else len(raw)]
    return line.removeprefix(_DATA) if line.startswith(_DATA) else b""


def _chat_blocks(raw: bytes) -> list[Block]:
    text = _joined(_CONTENT_DELTA.findall(raw))
    if not _holds(raw, b'"tool_calls"'):
        return [Block(text=text)]
    return [Block(text=text), *(Block(id=one.decode()) for one in _CALL_ID.findall(raw))]


def _message_blocks(raw: bytes) -> list[Block]:
    blocks, is_sealed = [], _holds(raw, b'"signature"')
    for part in raw.split(b'"content_block_stop"'):
        blocks.append(Block(text=_joined(_TEXT_DELTA.findall(part))))
        blocks += [Block(id=one.decode()) for one in _BLOCK_ID.findall(part)]
        if is_sealed:
            blocks += [Block(signature=one.decode()) for one in _SIGNATURE.findall(part)]
    return [block for block in blocks if block != Block(text="")]


def _joined(deltas: list[bytes]) -> str:
    """Of pieces as they stand in JSON; one pair of surrogates may be in two of them."""
    return _text.decode(b'"' + b"".join(deltas) + b'"')
