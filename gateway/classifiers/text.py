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
LEAST_MIDDLE_BYTES = 192  # less hides no instructions
PIECE_BYTES = 768
MIDDLE_PIECES = 6
MIDDLE_BYTES = MIDDLE_PIECES * PIECE_BYTES
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
_MAY_BE_COMPATIBLE = frozenset(b"\xef\xf0\xe2\xc2")  # full-width, mathematical, enclosed letters
_MARKS = frozenset(b"\xcc\xcd")
_MAY_BE_HIDDEN = frozenset(b"\xe2\xef\xc2\xf3\xd8\xe1")
_TWO_ALPHABETS = frozenset(b"\xc9\xce\xcf\xd0\xd1\xd2\xd4\xd5")
# Punctuation and spaces beyond ASCII by their first byte.
_PUNCTUATION = {
    0xEF: "，？：！；（）",
    0xE2: "’“”–—…‘•„‐‚\u2028\u2029",
    0xC2: "\u00a0»«¿¡·\u0085",
    0xE3: "\u3000",
    0xE1: "\u1680",
}
_WIDE_SPACE = "\u3000"
# ASCII, what follows a first byte, and the first bytes of kana, ideographs and most of Hangul:
# nothing there is a capital, hidden, or another form of a letter.
_AS_THEY_ARE = bytes(range(0xC0)) + b"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xeb\xec\xed"
_LATIN = frozenset(b"\xc2\xc3")


def _latin_table() -> bytes:
    """Of Latin-1 by its code points: lower case, and what compatibility or punctuation makes of
    the signs."""
    table = bytearray(range(256))
    for code in range(0xA0, 0xC0):
        plain = unicodedata.normalize("NFKC", chr(code))
        table[code] = ord(plain) if plain.isascii() and plain.isalnum() else ord(" ")
    table[0xB5] = 0xB5  # the micro sign is a letter
    for code in range(0xC0, 0xDF):
        table[code] = ord(chr(code).lower())
    table[0x80:0xA0] = b" " * 32
    return bytes(table)


_LATIN_TABLE = _latin_table()


def ends_of(raw: bytes | memoryview) -> bytes:
    """How a text begins and how it ends: all of a short one."""
    if len(raw) < ENDS_BYTES:
        return bytes(raw)
    return b"\n".join((raw[:HEAD_BYTES], raw[-TAIL_BYTES:]))


def middle_of(raw: bytes | memoryview) -> bytes:
    """What stands between the ends of a long text: all of it up to `MIDDLE_BYTES`, of more as
    much in pieces as far from each other as they can be. Empty where hardly anything is left."""
    length = len(raw) - HEAD_BYTES - TAIL_BYTES
    if length < LEAST_MIDDLE_BYTES:
        return b""
    if length <= MIDDLE_BYTES:
        return bytes(raw[HEAD_BYTES:-TAIL_BYTES])
    apart = (length - PIECE_BYTES) // (MIDDLE_PIECES - 1)
    starts = range(HEAD_BYTES, HEAD_BYTES + length - PIECE_BYTES + 1, apart)
    return b"\n".join([raw[start : start + PIECE_BYTES] for start in starts])


def folded(raw: bytes) -> bytes:
    """Raw JSON text as lower-case words, UTF-8, with one space before, between and after them, and
    one more for each mark of punctuation that was there; of scripts without spaces, runs of them.

    Escapes are undone, look-alikes and hidden characters are gone. A part that is cut in the middle
    of a character loses that character.
    """
    if b"\\" in raw:
        if b"\\u" in raw:
            raw = _unescaped(raw)
        raw = raw.replace(b"\\n", b"\n").replace(b"\\t", b"\t").replace(b"\\r", b"")
    if not raw.isascii():
        raw = _plain(raw)
    # Each turn halves the longest run of spaces; splitting by words costs three times as much.
    # Looking from the end is twice as fast as `in`, which stops at every single space.
    while raw.rfind(b"  ") >= 0:
        raw = b" ".join(raw.split(b"  "))
    text = raw.translate(_TABLE)
    # JSON ends in marks, of which spaces were made.
    return text if text[:1] == text[-1:] == b" " else b" %b " % text


def _plain(raw: bytes) -> bytes:
    """What is not ASCII as the letters it is meant to look like, in lower case."""
    text = raw.decode("utf-8", "ignore")
    if _WIDE_SPACE in text:
        text = text.replace(_WIDE_SPACE, " ")
    leads = frozenset(raw.translate(None, _AS_THEY_ARE))
    found = _simple(text, leads)
    if found is not None:
        return found
    for lead in leads & _PUNCTUATION.keys():
        for char in _PUNCTUATION[lead]:
            text = text.replace(char, " ")
    leads = frozenset(text.encode().translate(None, _AS_THEY_ARE))
    found = _simple(text, leads)
    return _folded_letters(text, leads).encode("utf-8", "ignore") if found is None else found


def _simple(text: str, leads: frozenset[int]) -> bytes | None:
    """Letters that cannot look like others; None where there are others."""
    if not leads:
        return text.encode()
    if leads <= _LATIN:
        try:
            latin = text.encode("latin-1")
        except UnicodeEncodeError:  # beside ideographs
            return None
        return latin.translate(_LATIN_TABLE, b"\xad").decode("latin-1").encode()
    return None


def _folded_letters(text: str, leads: frozenset[int]) -> str:
    """The long way, for letters that may be others than they look."""
    has_marks = not _MARKS.isdisjoint(leads)
    if has_marks or not _MAY_BE_COMPATIBLE.isdisjoint(leads):
        text = unicodedata.normalize("NFKC", text)
    if has_marks or not _MAY_BE_HIDDEN.isdisjoint(leads):
        text = _HIDDEN.sub("", text)
    if not _TWO_ALPHABETS.isdisjoint(leads) and _MIXED.search(text):
        text = text.translate(_LOOK_ALIKES)
    return text.lower()


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
