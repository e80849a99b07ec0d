"""Text of a request as words that can be looked up, at a bounded price and without decoding it all.

Works on raw JSON (a string, or a list of parts) and on bytes, because most text is ASCII and bytes
are looked through several times faster. What is not ASCII is normalised first:
NFKC, format characters removed, look-alike letters folded where scripts are mixed inside words
(Unicode Technical Standard 39 calls the result a skeleton). No regular expression repeats, so
none can blow up.
"""

from __future__ import annotations

import re
import unicodedata

import msgspec

HEAD_BYTES = 768
TAIL_BYTES = 320
ENDS_BYTES = HEAD_BYTES + TAIL_BYTES + 1
_string = msgspec.json.Decoder(str)


def _words_table() -> bytes:
    """Lower case; whatever is neither letter, digit nor part of a longer character is a space."""
    table = bytearray(b" " * 256)
    for code in range(128):
        if chr(code).isalnum():
            table[code] = ord(chr(code).lower())
    table[128:] = bytes(range(128, 256))
    return bytes(table)


_TABLE = _words_table()
_HIDDEN = re.compile(  # format characters, variation selectors, marks that stand on letters
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\u0300-\u036f\U000e0000-\U000e0fff]"
)
_MIXED = re.compile("[\u0370-\u03ff\u0400-\u04ff](?:(?<=[A-Za-z].)|(?=[A-Za-z]))")
_LOOK_ALIKES = str.maketrans(
    "АВЕКМНОРСТУХавеикмнорстухѕіјԁһԛԝϲΑΒΕΖΗΙΚΜΝΟΡΤΥΧαειкνορτυχɡıո",
    "ABEKMHOPCTYXabeukmhopctyxsijdhqwcABEZHIKMNOPTYXaeiknoptuxgin",
)
# By the first byte of a character in UTF-8, so that a text is looked through once.
_NO_LEADS = bytes(range(0xC0))
_MAY_BE_COMPATIBLE = frozenset(b"\xef\xf0\xe2\xc2")  # full-width, mathematical, enclosed letters
_MARKS = frozenset(b"\xcc\xcd")
_MAY_BE_HIDDEN = frozenset(b"\xe2\xef\xc2\xf3\xd8\xe1")
_TWO_ALPHABETS = frozenset(b"\xc9\xce\xcf\xd0\xd1\xd2\xd4\xd5")
# Punctuation and spaces beyond ASCII by their first byte, which costs next to nothing to look for;
# the common ones come first.
_PUNCTUATION = tuple(
    [
        (lead, tuple([char.encode() for char in chars]))
        for lead, chars in (
            (b"\xef", "，？：！；（）"),
            (b"\xe2", "’“”–—…‘•„‐‚\u2028\u2029"),
            (b"\xc2", "\u00a0»«¿¡·\u0085"),
            (b"\xe3", "\u3000"),
            (b"\xe1", "\u1680"),
        )
    ]
)
# Kana, ideographs, most of Hangul: nothing there is a capital, hidden, or another form of a letter.
_AS_THEY_ARE = frozenset(b"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xeb\xec\xed")


def ends_of(raw: bytes | memoryview) -> bytes:
    """How a text begins and how it ends: all of a short one."""
    if len(raw) < ENDS_BYTES:
        return bytes(raw)
    return bytes(raw[:HEAD_BYTES]) + b" " + bytes(raw[-TAIL_BYTES:])


def folded(raw: bytes) -> bytes:
    """Raw JSON text as lower-case words, UTF-8, with one space before, between and after them; of
    scripts without spaces, runs of them.

    Escapes are undone, punctuation is gone, look-alikes and hidden characters too. A part that
    is cut in the middle of a character loses that character.
    """
    if b"\\" in raw:
        if b"\\u" in raw:
            raw = _unescaped(raw)
        raw = raw.replace(b"\\n", b" ").replace(b"\\t", b" ").replace(b"\\r", b" ")
    if not raw.isascii():
        raw = _plain(raw)
    text = raw.translate(_TABLE)
    if text[:1] != b" " or text[-1:] != b" ":  # JSON ends in marks, of which spaces were made
        text = b" %b " % text
    # Each turn halves the longest run of spaces; splitting by words costs three times as much.
    while len(pieces := text.split(b"  ")) > 1:
        text = b" ".join(pieces)
    return text


def _plain(raw: bytes) -> bytes:
    """What is not ASCII as the letters it is meant to look like, in lower case."""
    for lead, chars in _PUNCTUATION:
        for char in chars:
            if lead not in raw:
                break
            raw = raw.replace(char, b" ")
    leads = frozenset(raw.translate(None, _NO_LEADS))
    text = raw.decode("utf-8", "ignore")
    if leads <= _AS_THEY_ARE:
        return text.encode()
    has_marks = not _MARKS.isdisjoint(leads)
    if has_marks or not _MAY_BE_COMPATIBLE.isdisjoint(leads):
        text = unicodedata.normalize("NFKC", text)
    if has_marks or not _MAY_BE_HIDDEN.isdisjoint(leads):
        text = _HIDDEN.sub("", text)
    if not _TWO_ALPHABETS.isdisjoint(leads) and _MIXED.search(text):
        text = text.translate(_LOOK_ALIKES)
    return text.lower().encode("utf-8", "ignore")


def _unescaped(raw: bytes) -> bytes:
    r"""`\uXXXX` as the characters they stand for; as it was where the cut makes that impossible."""
    start = raw.find(b"\\u")
    end = len(raw)
    last = raw.rfind(b"\\", -6)
    if last > start:
        end = last
    text = raw[start:end].replace(b'\\"', b" ").replace(b'"', b" ")
    text = text.replace(b"\\/", b"/")
    try:
        return raw[:start] + _string.decode(b'"' + text + b'"').encode("utf-8", "ignore")
    except (msgspec.MsgspecError, UnicodeError):
        return raw
