"""JSON objects that every parser reads alike, or a refusal.

Law: if `read_members` accepts, then last-wins, first-wins and case-insensitive parsers find the
same members. Values stay unparsed (`msgspec.Raw`, views of the body).
"""

from __future__ import annotations

import codecs
import itertools
import re
from collections.abc import Container, Mapping

import msgspec
from msgspec import Raw

from ..errors import RequestError

UTF8_STEP_BYTES = 1 << 18
MAX_MEMBERS = 16_384  # of one object: each costs some 130 bytes, and ten times what it came with
_LEAST_MEMBER_BYTES = 5  # `"":0,`


class _TooManyError(Exception):
    """An object has more than `MAX_MEMBERS` members."""


class _Name(str):
    """A key that equals only itself, so that a dict of them keeps every member."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__


_members = msgspec.json.Decoder(dict[str, Raw])
_all_members = msgspec.json.Decoder(dict[_Name, Raw], dec_hook=lambda _, text: _Name(text))
_text = msgspec.json.Decoder(str)
_utf8_decoder = codecs.getincrementaldecoder("utf-8")
_KEY = re.compile(rb'[{, \t\n\r]*("(?:[^"\\]|\\.)*")[ \t\n\r]*:[ \t\n\r]*')


def check_text(raw: bytes) -> None:
    """Refuse what is no UTF-8 text without a byte order mark (RFC 8259 §8.1)."""
    if not raw:
        raise RequestError(400, "empty_body", "The body is empty; a JSON object is expected.")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise RequestError(
            400, "byte_order_mark", "The body must not begin with a byte order mark."
        )
    if raw.isascii():
        return
    decode = _utf8_decoder().decode
    try:  # in steps, so that a large body is never held a second time as text
        for start in range(0, len(raw), UTF8_STEP_BYTES):
            decode(raw[start : start + UTF8_STEP_BYTES], start + UTF8_STEP_BYTES >= len(raw))
    except UnicodeDecodeError:
        raise RequestError(400, "invalid_utf8", "The body is not valid UTF-8.") from None


def read_members(raw: bytes, reads: Container[str], where: str) -> dict[str, Raw]:
    """The members of a JSON object, none of them twice.

    `reads` are the names that matter to the caller, who reads them by these exact names;
    `where` is the object's own path with a dot at its end, "" for the body.

    Compact JSON is checked by adding up: braces, unescaped names in quotes, values, colons and
    commas fill the whole text exactly when every member is in the dict; a member hidden by a
    later one would leave bytes over. Any other text is decoded again, keeping every member.
    """
    try:
        may_be_crowded = len(raw) > _LEAST_MEMBER_BYTES * MAX_MEMBERS
        members = _counted_members(raw) if may_be_crowded else _members.decode(raw)
    except _TooManyError:
        raise RequestError(
            400, "invalid_field", f"{_place(where)} must have at most {MAX_MEMBERS} members."
        ) from None
    except msgspec.ValidationError:
        raise RequestError(
            400, "not_an_object", f"{_place(where)} must be a JSON object."
        ) from None
    except RecursionError:
        raise RequestError(400, "too_deep", "The body is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestError(400, "malformed_json", "The body is not valid JSON.") from None
    names = "".join(members)
    if not (names.isascii() and names.islower() and names.isprintable()):
        _check_names(members, reads, where)
        _check_count(raw, members, where)
    elif 1 + len(names) + 4 * len(members) + sum(map(len, members.values())) != len(raw):
        _check_count(raw, members, where)
    return members


def spans_of(raw: bytes, members: Mapping[str, Raw]) -> dict[str, tuple[int, int]]:
    """Where each value of `members`, which `read_members` made of `raw`, begins and ends."""
    spans: dict[str, tuple[int, int]] = {}
    at = 0
    while (key := _KEY.match(raw, at)) is not None:
        name = _text.decode(key[1])
        at = key.end() + len(members[name])
        spans[name] = (key.end(), at)
    return spans


def _counted_members(raw: bytes) -> dict[str, Raw]:
    """As `_members` decodes them, but it stops at the first member too many, however many
    follow and whatever they are called: one key again and again counts each time."""
    seen = itertools.count(1)

    def count(_: type, text: str) -> _Name:
        if next(seen) > MAX_MEMBERS:
            raise _TooManyError
        return _Name(text)

    found = msgspec.json.Decoder(dict[_Name, Raw], dec_hook=count).decode(raw)
    return {str(name): value for name, value in found.items()}


def _check_count(raw: bytes, members: Mapping[str, Raw], where: str) -> None:
    if len(_all_members.decode(raw)) != len(members):
        raise RequestError(400, "duplicate_key", f"{_place(where)} has a key twice.")


def _check_names(members: Mapping[str, Raw], reads: Container[str], where: str) -> None:
    """A parser that ignores case, or ends text at a NUL, must find the same members."""
    if len({name.casefold() for name in members}) < len(members):
        raise RequestError(
            400, "ambiguous_key", f"{_place(where)} has two keys that differ in case only."
        )
    for name in members:
        folded = name.casefold()
        if folded in reads and name not in reads:
            raise RequestError(
                400, "ambiguous_key", f"`{where}{folded}` must be written in lower case."
            )
        if any(char < " " for char in name):
            raise RequestError(
                400, "ambiguous_key", f"{_place(where)} has a key with control characters."
            )


def _place(where: str) -> str:
    return f"`{where[:-1]}`" if where else "The body"
