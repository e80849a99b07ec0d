"""What a model API hands out that nobody can guess, as it leaves and as it comes back.

Ids of tool calls, responses and items, seals of hidden reasoning, and passages of long answers.
An answer and the assistant turn that later stands for it in a history hold the same of them,
whatever the dialect: both are read by the same functions. Only the last assistant turn of a
history is read: there each answer comes back once, however long the conversation, and work is
bounded.

Law: what anybody could have made up is none. Ids under `LEAST_BITS` of chance (counters, names,
nine characters) are left out, and so are single sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from math import log2
from zlib import crc32

import msgspec
from msgspec import Raw, Struct

from .opening import LIST, NOTHING, TEXT, Entry, Members, is_made_by_model, kind_of

LEAST_BITS = 64.0
MAX_ID_CHARS = 256
MAX_IDS = 6  # of one turn
PASSAGES = 2
LEAST_SENTENCE_BYTES = 32
MAX_TEXT_BYTES = 8_192
MAX_SENTENCES = 64
MAX_TRAILING = 16  # entries of a history that are looked at, from its end
_LAST_FIRST = slice(None, -MAX_TRAILING - 1, -1)
MAX_BLOCKS = 32
MAX_ENTRY_BYTES = 262_144
_SENTENCE_ENDS = tuple(mark.encode() for mark in "!?\n\u3002\uff01\uff1f")
_ASCII_ENDS = tuple(mark for mark in _SENTENCE_ENDS if mark.isascii())
_MASK = 0xFFFFFFFF
_LETTERS_ONLY = re.compile(r"[a-z_\-.:/]*\Z|[A-Z_\-.:/]*\Z")


class Block(Struct, gc=False):
    """A part of a message's content, or a tool call beside it."""

    type: str = ""
    id: str | None = None
    text: str | None = None
    signature: str | None = None
    data: str | None = None


_entry = msgspec.json.Decoder(Entry)
_blocks = msgspec.json.Decoder(list[Block])
_text = msgspec.json.Decoder(str)
_list = msgspec.json.Decoder(list[Raw])
BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def chained_in(members: Members) -> list[str]:
    """The answer that a request goes on from, where it names one that nobody can guess."""
    chained = members.get("previous_response_id")
    return [] if chained is None or len(chained) > MAX_ID_CHARS else _ids([_string(chained)])


def returned_in(members: Members, entries: Sequence[Entry] | None = None) -> list[str]:
    """What the last assistant turn in a request's history holds; [] for a first question.
    `entries` are those of the history, where somebody has read them all."""
    found = chained_in(members)
    try:
        turn = _last_turn(_last_first(members) if entries is None else entries[_LAST_FIRST])
        return found + artefacts_of(reversed(turn)) if turn else found
    except BROKEN:
        return found


def _last_first(members: Members) -> Iterable[Entry]:
    """The entries of a history, from its end."""
    raw = members.get("messages") or members.get("input")
    if raw is None or kind_of(raw) != LIST:
        return ()
    return _decoded(_list.decode(raw)[_LAST_FIRST])


def _decoded(entries: Iterable[Raw]) -> Iterator[Entry]:
    """One after the other, until one that is too long."""
    for raw in entries:
        if len(raw) > MAX_ENTRY_BYTES:
            return
        yield _entry.decode(raw)


def _last_turn(last_first: Iterable[Entry]) -> list[Entry]:
    """The model's own entries that stand together nearest to the end, the last one first."""
    turn: list[Entry] = []
    for entry in last_first:
        if is_made_by_model(entry):
            turn.append(entry)
        elif turn:
            break
    return turn


def artefacts_of(entries: Iterable[Entry]) -> list[str]:
    """The artefacts of one turn: at most `MAX_IDS` ids and seals, and `PASSAGES` passages."""
    ids: list[str | None] = []
    texts: list[bytes] = []
    for entry in entries:
        ids += (entry.id, entry.call_id, entry.encrypted_content)
        for raw in (entry.content, entry.tool_calls):
            if raw is NOTHING:
                continue
            kind = kind_of(raw)
            if kind == TEXT:
                texts.append(_utf8_of(raw))
            elif kind == LIST:
                for block in _blocks.decode(raw)[:MAX_BLOCKS]:
                    ids += (block.id, block.signature, block.data)
                    if block.text is not None:
                        texts.append(block.text.encode("utf-8", "surrogatepass"))
    found = passages(texts[0] if len(texts) == 1 else b"\n".join(texts))
    return _ids(ids) + found if any(ids) else found


def _ids(found: Iterable[str | None]) -> list[str]:
    kept = [one for one in dict.fromkeys(found) if one is not None and is_unguessable(one)]
    return kept[:MAX_IDS]


def is_unguessable(text: str) -> bool:
    """Whether an id may hold `LEAST_BITS` of chance, judged by its length and how many different
    characters it has. A name made of words holds none: some digit or a change of case is asked
    for. A prefix up to the last underscore (`call_`, `toolu_`) is not counted."""
    tail = text[-MAX_ID_CHARS:].rpartition("_")[2].replace("-", "")
    if len(tail) < 11 or _LETTERS_ONLY.match(tail):
        return False
    return len(tail) * log2(len(set(tail))) >= LEAST_BITS


def _utf8_of(raw: Raw) -> bytes:
    """A JSON string without its quotes and escapes; most have none."""
    text = bytes(raw)
    if b"\\" not in text:
        return text[1:-1]
    return _text.decode(text).encode("utf-8", "surrogatepass")


def passages(text: bytes) -> list[str]:
    """Of UTF-8: two neighbouring sentences, those of the smallest hashes, so that an answer and its
    copy yield the same ones. [] for short texts: what is as short could be said by anybody."""
    raw = text[:MAX_TEXT_BYTES]
    for mark in _ASCII_ENDS if raw.isascii() else _SENTENCE_ENDS:
        raw = raw.replace(mark, b".")
    pieces = map(bytes.strip, raw.split(b".", MAX_SENTENCES))
    sentences = [one for one in pieces if len(one) >= LEAST_SENTENCE_BYTES]
    if len(sentences) < 2:
        return []
    hashes = list(map(crc32, sentences))
    pairs = [(first ^ 3 * second) & _MASK for first, second in pairwise(hashes)]
    chosen = sorted(pairs)[:PASSAGES]
    if len(set(chosen)) < len(chosen):
        chosen = sorted(set(pairs))[:PASSAGES]
    pairs.reverse()  # of equal ones the last counts
    last = len(pairs) - 1
    places = [last - pairs.index(one) for one in chosen]
    return [(sentences[n] + b"|" + sentences[n + 1]).decode("utf-8", "replace") for n in places]


def _string(raw: bytes | memoryview) -> str | None:
    try:
        return _text.decode(raw)
    except BROKEN:
        return None
