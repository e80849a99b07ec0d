"""Fixed text in requests: system prompt, tools, output contract, the head of the first question.

Text is normalised (NFKC, format characters removed, white space joined, digits masked, case
folded), so that zero-width characters, full-width letters and running numbers change nothing;
near-duplicates share some of the smallest hashes of their word runs (a bottom-k sketch, after
A. Broder, "On the resemblance and containment of documents", 1997). Innocent causes: harnesses,
tutorials, class assignments.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

from .evidence import Block, Sight, family
from .opening import beginning_of, plain_beginning_of, text_of

MAX_TEXT_CHARS = 4_096
QUESTION_CHARS = 4 * 120
HEAD_CHARS = 120
ENOUGH_CHARS = 160
ENOUGH_BYTES = 176
LEAST_HEAD_CHARS = 40
LEAST_SYSTEM_CHARS = 24
RUN_WORDS = 4
SKETCH_HASHES = 4
LEAST_WORDS = 12
MAX_WORDS = 400
MAX_TOOLS_BYTES = 262_144
MAX_CONTRACT_BYTES = 65_536
CONTRACTS = ("response_format", "text", "output_config")
_DIGITS = re.compile(r"\d+")
_SPACES = b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
_DIGITS_SPACES = bytes.maketrans(b"123456789" + _SPACES, b"0" * 9 + b" " * 9)
_FOLDED = bytes(range(256)).lower().translate(_DIGITS_SPACES)
_WORD = re.compile(r"\w+")
_HIDDEN = frozenset({"Cf", "Mn"})  # format characters, combining marks
# The marks of Chinese and Japanese as NFKC has them. Of a text without others it has nothing left
# to change, and tells so in a tenth of the time.
_FULL_WIDTH = tuple(zip("，：？！；（）", ",:?!;()", strict=True))
# All of them, and whole alphabets that have some: to look up each character costs 70 us a text.
_MAY_BE_HIDDEN = re.compile(
    "[\u00ad\u0300-\u036f\u0483-\u0487\u0590-\u1dff\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u20d0-\u20ff\u2cef-\u2cf1\u2d7f\u2de0-\u2dff\u302a-\u302d\u3099\u309a\ua66f-\ua6ff"
    "\ua800-\uabff\ufb1e\ufe00-\ufe2f\ufeff\ufff9-\ufffb\U000101fd-\U0001e94a\U000e0000-\U000e0fff]"
)
# Letters of which normalisation makes none with what is before them: Latin, Greek, Cyrillic, kana,
# ideographs, Hangul syllables. Source: Unicode Standard Annex 15, section 9.1.
_STARTS = re.compile("[\0-\u02ff\u0370-\u0482\u3041-\u3096\u30a1-\u30fa\u3400-\u9fff\uac00-\ud7a3]")


@family("system_prompt", Block.CONTENT)
def system_prompt(sight: Sight) -> tuple[str, ...]:
    """The exact system prompt, normalised."""
    return _of_system(sight.opening.system)[0] if sight.opening.system else ()


@family("system_sketch", Block.CONTENT)
def system_sketch(sight: Sight) -> tuple[str, ...]:
    """Four hashes that near-duplicates of a system prompt share some of."""
    return _of_system(sight.opening.system)[1] if sight.opening.system else ()


@family("question_head", Block.CONTENT)
def question_head(sight: Sight) -> tuple[str, ...]:
    """How the first question begins: the fixed part of a filled-in template."""
    head = head_of(sight.opening.question) if sight.opening.question else ""
    return (head,) if len(head) >= LEAST_HEAD_CHARS else ()


@family("tools", Block.CONTENT)
def tools(sight: Sight) -> tuple[str, ...]:
    """The exact set of tools and their schemas."""
    raw = sight.members.get("tools")
    if raw is None or not 16 < len(raw) <= MAX_TOOLS_BYTES:
        return ()
    return (blake2b(raw, digest_size=16).hexdigest(),)


@family("contract", Block.CONTENT)
def contract(sight: Sight) -> tuple[str, ...]:
    """The exact output format that was demanded."""
    members = sight.members
    found = [members[name] for name in CONTRACTS if name in members]
    if not found:
        return ()
    demanded = [raw for raw in found if 40 < len(raw) <= MAX_CONTRACT_BYTES]
    return tuple([blake2b(raw, digest_size=16).hexdigest() for raw in demanded])


def head_of(raw: bytes) -> str:
    """The first `HEAD_CHARS` of a text as raw JSON, normalised; of `QUESTION_CHARS` of it at most.

    Law: what is enough to fill the head is no more than what is read of it first: nothing that
    follows changes a normalised character but the last one, nor that where what follows begins a
    character of its own.
    """
    plain = plain_beginning_of(raw, ENOUGH_BYTES)
    if plain is not None:
        folded = _folded(plain)
        if len(folded) > HEAD_CHARS:
            return folded[:HEAD_CHARS].decode()
    begun = beginning_of(raw, ENOUGH_CHARS)
    if begun is not None:
        head = normalised(begun if begun.isascii() else _up_to_a_start(begun))
        if len(head) > HEAD_CHARS:
            return head[:HEAD_CHARS]
        begun = beginning_of(raw, QUESTION_CHARS)
    if begun is None:
        begun = text_of(raw)[:QUESTION_CHARS]
    return normalised(begun)[:HEAD_CHARS]


def _up_to_a_start(text: str) -> str:
    """Without its end, as far back as a character that joins nothing before it (`_STARTS`)."""
    for place in range(len(text) - 1, HEAD_CHARS, -1):
        if _STARTS.match(text, place):
            return text[:place]
    return ""


def normalised(text: str) -> str:
    """NFKC, no format characters, one space between words, digits as `0`, folded case."""
    if text.isascii():
        return _folded(text.encode()).decode()
    for wide, plain in _FULL_WIDTH:
        if wide in text:
            text = text.replace(wide, plain)
    text = unicodedata.normalize("NFKC", text)
    if _MAY_BE_HIDDEN.search(text):
        text = "".join([c for c in text if unicodedata.category(c) not in _HIDDEN])
    return _DIGITS.sub("0", " ".join(text.split())).casefold()


def _folded(raw: bytes) -> bytes:
    """`normalised` of ASCII, for a third of what it costs by text."""
    raw = raw.translate(_FOLDED)
    while b"00" in raw:
        raw = raw.replace(b"00", b"0")
    return b" ".join(raw.split()) if b"  " in raw else raw.strip()


def sketch(text: str) -> list[str]:
    """The smallest hashes of the text's runs of `RUN_WORDS` words; [] for short texts."""
    words = _WORD.findall(text)[:MAX_WORDS]
    if len(words) < LEAST_WORDS:
        return []
    runs = zip(*(words[start:] for start in range(RUN_WORDS)), strict=False)
    hashes = {crc32(" ".join(run).encode("utf-8", "surrogatepass")) for run in runs}
    return [f"{value:08x}" for value in sorted(hashes)[:SKETCH_HASHES]]


@lru_cache(maxsize=8_192)
def _of_system(raw: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(exact, sketch) of a system prompt as raw JSON; worked out once for each text."""
    text = normalised(text_of(raw)[:MAX_TEXT_CHARS])
    if len(text) < LEAST_SYSTEM_CHARS:
        return (), ()
    exact = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return (exact,), tuple(sketch(text))
