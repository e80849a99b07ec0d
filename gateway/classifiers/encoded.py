"""Text in base64, as the text it stands for. Bounded: one layer, one run, of the ends of a text.

A caller who has to have everything decoded by the model pays for it in tokens and in answers; this
only sees to it that the cheapest disguise is none.
"""

from __future__ import annotations

import binascii
import re

_LOOKED_AT_BYTES = 48
_RUN = re.compile(rb"[A-Za-z0-9+/]{64,}")  # one class, once: linear
_ALTERNATE = bytes.maketrans(b"-_", b"+/")  # RFC 4648 section 5
_IN_TEXT = bytes(range(0x20, 0x100)) + b"\t\n\r"
_LEAST_SPACES = 1 / 24  # of letters, in scripts that put spaces between words


def legible(ends: bytes) -> bytes:
    """The ends of a text (raw JSON) with a long run of base64 decoded in its place; as they are
    where there is none, or where it stands for no text: pictures, keys, hashes."""
    middle = len(ends) // 2
    # Almost any text has a space there, an escape, or a character that base64 does not have.
    if ends.find(b" ", middle, middle + _LOOKED_AT_BYTES) >= 0:
        return ends
    looked_at = ends[middle : middle + _LOOKED_AT_BYTES]
    is_short = len(looked_at) < _LOOKED_AT_BYTES
    if is_short or not looked_at.isascii() or b"\\u" in looked_at:
        return ends
    joined = ends.replace(b"\\r", b"").replace(b"\\n", b"").translate(_ALTERNATE)
    runs = sorted(_RUN.finditer(joined), key=_length)
    text = _decoded(runs[-1][0]) if runs else None
    if text is None:
        return ends
    start, end = runs[-1].span()
    return b"%b %b %b" % (joined[:start], _as_json(text), joined[end:])


def _length(run: re.Match[bytes]) -> int:
    return run.end() - run.start()


def _decoded(run: bytes) -> bytes | None:
    """None for what is no text. The last character may have been cut: it is left out."""
    raw = binascii.a2b_base64(run[: len(run) & ~3])
    text = raw.decode("utf-8", "ignore").encode()
    if len(raw) - len(text) > 3 or text.translate(None, _IN_TEXT):
        return None
    has_words = not text.isascii() or text.count(b" ") >= _LEAST_SPACES * len(text)
    return text if has_words else None


def _as_json(text: bytes) -> bytes:
    """What marks lines and quotes as a JSON string would."""
    return text.replace(b"\\", b" ").replace(b"\n", b"\\n").replace(b'"', b'\\"')
