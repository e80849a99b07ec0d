"""One value of a body as its API documents it, or a refusal that names the field.

Each takes the value unparsed, and the field's name for the message; all raise RequestError 400
`invalid_field`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import Raw

from ..errors import RequestError

MAX_ENTRIES = 16_384  # of messages, of an input, of tools, of prompts
MAX_WHOLE_NUMBER = 2**53  # beyond it a parser that reads doubles sees another number
_COUNT_STEP_BYTES = 1 << 18

_entries_decoder = msgspec.json.Decoder(list[Raw])
_text_decoder = msgspec.json.Decoder(str)
_number_decoder = msgspec.json.Decoder(float)
_FLAGS = {b"true": True, b"false": False}


def is_null(raw: Raw) -> bool:
    """Whether it is `null`, which reads like an absent member."""
    return len(raw) == 4 and bytes(raw) == b"null"


def text_of(raw: Raw, name: str, limit_chars: int) -> str:
    try:
        text = _text_decoder.decode(raw)
    except msgspec.DecodeError:
        raise wrong(name, "text") from None
    if len(text) > limit_chars:
        raise wrong(name, f"text of at most {limit_chars} characters")
    return text


def flag_of(raw: Raw, name: str) -> bool:
    value = _FLAGS.get(bytes(raw))
    if value is None:
        raise wrong(name, "true or false")
    return value


def whole_of(raw: Raw, name: str) -> int:
    """A whole number of 0..2^53 in plain digits; 1.0 and 1e2 are refused."""
    digits = bytes(raw)
    value = int(digits) if len(digits) <= 16 and digits.isdigit() else -1
    if not 0 <= value <= MAX_WHOLE_NUMBER:
        raise wrong(name, "a whole number from 0 to 2^53")
    return value


def number_of(raw: Raw, name: str) -> float:
    try:
        value = _number_decoder.decode(raw)
    except msgspec.DecodeError:
        raise wrong(name, "a number") from None
    if abs(value) > MAX_WHOLE_NUMBER:
        raise wrong(name, "a number within 2^53")
    return value


def entries_of(raw: Raw, name: str, most: int = MAX_ENTRIES) -> list[Raw]:
    _check_length(raw, name, most)
    try:
        return _entries_decoder.decode(raw)
    except msgspec.DecodeError:
        raise wrong(name, "a list") from None


def texts_of(raw: Raw, name: str) -> list[Raw]:
    """The entries of a list; text is one entry."""
    kind = bytes(memoryview(raw)[:1])
    if kind not in (b'"', b"["):
        raise wrong(name, "text or a list")
    return [raw] if kind == b'"' else entries_of(raw, name)


def _check_length(raw: Raw, name: str, most: int) -> None:
    """Refuse a list of more than `most` entries before it is taken apart.

    An entry has at least one byte and a comma, so that nothing is asked of a short text and
    little of a long one with few commas. What is no list is left to the caller.
    """
    if len(raw) > 2 * most and _has_commas(raw, most):
        try:
            window = _window(most).decode(raw)
        except msgspec.DecodeError:
            return
        if window.beyond is not None:
            raise wrong(name, f"a list of at most {most} entries")


def _has_commas(raw: Raw, enough: int) -> bool:
    """In steps, so that a large body is never held a second time."""
    view, found = memoryview(raw), 0
    for start in range(0, len(view), _COUNT_STEP_BYTES):
        found += bytes(view[start : start + _COUNT_STEP_BYTES]).count(b",")
        if found >= enough:
            return True
    return False


@cache
def _window(size: int) -> msgspec.json.Decoder[Any]:
    """Decodes `size` entries of a list and, as `beyond`, the next one; what follows is passed
    over and costs no memory. Made when first needed: it takes 30 to 130 ms."""
    fields = [(f"_{index}", Raw, None) for index in range(size)]
    return msgspec.json.Decoder(
        msgspec.defstruct("Window", [*fields, ("beyond", Raw, None)], array_like=True, gc=False)
    )


def wrong(name: str, expected: str) -> RequestError:
    return RequestError(400, "invalid_field", f"`{name}` must be {expected}.")
