"""Text of a request as words that can be looked up, at a bounded price and without decoding it all.

Works on raw JSON (a string, or a list of parts) and on bytes, because most text is ASCII and bytes
are looked through several times faster. Where letters may be others than they look, they are
normalised first: NFKC, format characters removed, look-alike letters folded where scripts are
mixed inside words (Unicode Technical Standard 39 calls the result a skeleton). No regular
expression repeats, so none can blow up.
"""

from __future__ import annotations

import re
import unicodedata
from json import JSONDecoder

HEAD_BYTES = 768
TAIL_BYTES = 320
ENDS_BYTES = HEAD_BYTES + TAIL_BYTES + 1
LEAST_MIDDLE_BYTES = 192  # less hides no instructions
PIECE_BYTES = 768
MIDDLE_PIECES = 6
MIDDLE_BYTES = MIDDLE_PIECES * PIECE_BYTES
_escapes = JSONDecoder(strict=False)  # with control characters and halves of characters
_BACKSLASH = rb"\\u005c"
_BACKSLASHES = rb"\u005c\u005c"
_CUT_ESCAPE_BYTES = 5  # at most: a whole one has six
_OTHER_ESCAPE = re.compile(rb"\\(?!u)")


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
_FULL_WIDTH_MARKS = "，：？！；（）"  # the commonest first
_KINDS = bytes(  # ASCII letters as `a`, what is of longer characters as 255
    [255 if code >= 0x80 else ord("a") if chr(code).isalpha() else 0 for code in range(256)]
)
# Punctuation and spaces beyond ASCII by their first byte.
_PUNCTUATION = {
    0xEF: _FULL_WIDTH_MARKS,
    0xE2: "’“”–—…‘•„‐‚\u2028\u2029",
    0xC2: "\u00a0»«¿¡·\u0085",
    0xE3: "\u3000",
    0xE1: "\u1680",
}
_WIDE_SPACE = "\u3000"
# ASCII, what follows a first byte, and the first bytes of kana, ideographs and most of Hangul:
# nothing there is a capital, hidden, or another form of a letter.
_AS_THEY_ARE = bytes(range(0xC0)) + b"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xeb\xec\xed"
MARKS = b"\\-*:#[<|/`()={?."
FIGURES = b"0123456789"
_UNMARKED = bytes([code for code in _AS_THEY_ARE if code not in MARKS + FIGURES])
_NO_GLYPHS = bytes([c for c in range(256) if not 0xE3 <= c < 0xEE])  # first bytes of U+3000–U+DFFF
_ASCII = bytes(range(128))
_ACCENTED = b"\xc3"  # first byte of U+00C0 to U+00FF: the letters of Western Europe
_FULL_WIDTH = b"\xef"
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


def _accented_table() -> bytes:
    """`_TABLE`, of UTF-8 in which whatever is not ASCII follows `_ACCENTED`."""
    table = bytearray(_TABLE)
    for code in range(0xC0, 0x100):
        table[chr(code).encode()[1]] = chr(_LATIN_TABLE[code]).encode()[1]
    return bytes(table)


_ACCENTED_TABLE = _accented_table()


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


def marks_of(raw: bytes) -> bytes:
    """The `MARKS` and `FIGURES` of a raw text in their order, with the first bytes of characters
    that may not be the letters they look like: one pass tells what need not be looked for."""
    return raw.translate(None, _UNMARKED)


def unescaped(raw: bytes) -> bytes:
    r"""With `\uXXXX` as the characters that they stand for, so that it does not matter which way a
    client writes JSON; other escapes stay, and of one that is cut nothing stays. What is no JSON
    stays as it is."""
    if b"\\" not in raw or b"\\u" not in raw:  # one byte is looked for in no time, two are not
        return raw
    text = b"\n".join(map(_without_cut_escape, raw.split(b"\n")))
    if text.count(b"\\") > text.count(b"\\u"):
        text = _OTHER_ESCAPE.sub(_BACKSLASH, text.replace(b"\\\\", _BACKSLASHES))
    text = text.replace(b'"', b"\\u0022")
    try:
        decoded: str = _escapes.decode('"' + text.decode("utf-8", "ignore") + '"')
    except ValueError:
        return raw
    return decoded.encode("utf-8", "ignore")  # without halves of characters


def _without_cut_escape(piece: bytes) -> bytes:
    """A piece ends where it was cut."""
    last = piece.rfind(b"\\u", -_CUT_ESCAPE_BYTES)
    return piece if last < 0 or b'"' in piece[last:] else piece[:last]


def folded(raw: bytes) -> str:
    """Raw JSON text as lower-case words, with one space before, between and after them, and one
    more for each mark of punctuation that was there; of scripts without spaces, runs of them.

    Escapes are undone, look-alikes and hidden characters are gone. A part that is cut in the middle
    of a character loses that character.
    """
    raw = unescaped(raw)
    # Of ASCII only whether there are escapes is asked.
    return measured(raw, raw if raw.isascii() else marks_of(raw))[0]


def measured(raw: bytes, marks: bytes) -> tuple[str, int]:
    """`folded(raw)` of what is `unescaped`, and how many letters it has, a Chinese, Japanese or
    Korean character counting as three: a word or so of each script is about as long. `marks` are
    `marks_of(raw)`."""
    if b"\\" in marks:
        raw = raw.replace(b"\\n", b"\n").replace(b"\\t", b"\t").replace(b"\\r", b"")
    if raw.isascii():
        text = _spaced(raw).translate(_TABLE).decode()
        letters = len(text)
    else:
        leads = marks.translate(None, _ASCII)
        text, letters = _as_it_is(raw, leads) or _plain(raw, _different(leads))
    # JSON ends in marks, of which spaces were made.
    return (text, letters - 2) if text[:1] == text[-1:] == " " else (f" {text} ", letters)


def _spaced(raw: bytes) -> bytes:
    """With one space where there were more."""
    # Each turn halves the longest run of spaces; splitting by words costs three times as much.
    # Looking from the end is twice as fast as `in`, which stops at every single space.
    while raw.rfind(b"  ") >= 0:
        raw = b" ".join(raw.split(b"  "))
    return raw


def _as_it_is(raw: bytes, leads: bytes) -> tuple[str, int] | None:
    """A text of Western Europe, or of ideographs with their punctuation, whose letters can be
    nothing else: most texts that are not ASCII. None for others, by `leads`, the first bytes."""
    accented = leads.count(_ACCENTED)
    if accented == len(leads) > 0:
        spaced = _spaced(raw)
        text = spaced.translate(_ACCENTED_TABLE).decode("utf-8", "ignore")
        # Ideographs beside them, whose bytes the table has changed, are of three bytes.
        return (text, len(text)) if len(spaced) - len(text) == accented else None
    if leads:
        if leads.count(_FULL_WIDTH) != len(leads):
            return None
        text, left = raw.decode("utf-8", "ignore"), len(leads)
        for mark in _FULL_WIDTH_MARKS:
            if count := text.count(mark):
                text = text.replace(mark, " ")
                left -= count
                if not left:
                    break
        else:
            return None
        raw = text.encode()
    text = _spaced(raw).translate(_TABLE).decode("utf-8", "ignore")
    if _WIDE_SPACE in text:
        raw = raw.decode("utf-8", "ignore").replace(_WIDE_SPACE, " ").encode()
        text = _spaced(raw).translate(_TABLE).decode()
    # Whatever is not ASCII is one of three bytes.
    return text, len(text.encode())


def _plain(raw: bytes, leads: frozenset[int]) -> tuple[str, int]:
    """What is not ASCII as the letters it is meant to look like."""
    text = raw.decode("utf-8", "ignore")
    if _WIDE_SPACE in text:
        text = text.replace(_WIDE_SPACE, " ")
    latin = _latin(text) if leads <= _LATIN else None
    if latin is None:
        for lead in leads & _PUNCTUATION.keys():
            for char in _PUNCTUATION[lead]:
                if char in text:
                    text = text.replace(char, " ")
        encoded = text.encode()
        leads = _different(encoded.translate(None, _AS_THEY_ARE))
        if not leads:
            words = _spaced(encoded).translate(_TABLE)
            return words.decode(), len(words)
        latin = _latin(text) if leads <= _LATIN else None
    if latin is not None:
        words = _spaced(latin).translate(_TABLE)
        return words.decode("latin-1"), len(words)
    words = _spaced(_folded_letters(text, leads).encode("utf-8", "ignore")).translate(_TABLE)
    text = words.decode()
    return text, len(text) + 2 * len(words.translate(None, _NO_GLYPHS))


def _different(leads: bytes) -> frozenset[int]:
    """Which bytes there are. A text has two or three first bytes, many times over: to take out one
    after the other takes a fifth of what a set takes."""
    found = []
    while leads:
        found.append(leads[0])
        leads = leads.translate(None, leads[:1])
    return frozenset(found)


def _latin(text: str) -> bytes | None:
    """In Latin-1 and lower case, where it is written in letters of Western Europe alone."""
    latin = text.encode("latin-1", "ignore")
    return latin.translate(_LATIN_TABLE, b"\xad") if len(latin) == len(text) else None


def _folded_letters(text: str, leads: frozenset[int]) -> str:
    """The long way, for letters that may be others than they look."""
    has_marks = not _MARKS.isdisjoint(leads)
    if has_marks or not _MAY_BE_COMPATIBLE.isdisjoint(leads):
        text = unicodedata.normalize("NFKC", text)
    if has_marks or not _MAY_BE_HIDDEN.isdisjoint(leads):
        text = _HIDDEN.sub("", text)
    if not _TWO_ALPHABETS.isdisjoint(leads) and _is_mixed(text):
        text = text.translate(_LOOK_ALIKES)
    return text.lower()


def _is_mixed(text: str) -> bool:
    """Whether a letter of one alphabet is next to one of another. Bytes tell first whether any is
    next to an ASCII one, which takes a tenth of the time."""
    kinds = text.encode("utf-8", "ignore").translate(_KINDS)
    if b"a" not in kinds or (kinds.rfind(b"a\xff") < 0 and kinds.rfind(b"\xffa") < 0):
        return False
    return _MIXED.search(text) is not None
