"""Text of the project's own making, as bytes that may stand inside a JSON string as they are.

A sentence is noun phrase, verb, noun phrase, link: 33 random bits in some ten words, so that two
accounts never write the same passage by chance while the words themselves are everybody's.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from ...policy.source import Report, parse_yaml

CONTENT = Path(__file__).resolve().parent / "content"
LANGUAGES = ("en", "de", "fr", "es", "zh", "ja")


def inside_json(text: str) -> bytes:
    """`text` escaped for the inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


def ascii_json(escaped: bytes) -> bytes:
    """The same as a client writes it that sends nothing but ASCII."""
    if escaped.isascii():
        return escaped
    return json.dumps(json.loads(b'"' + escaped + b'"'))[1:-1].encode()


def plain(escaped: bytes) -> str:
    """The text itself."""
    return str(json.loads(b'"' + escaped + b'"'))


def read_content(name: str) -> dict[str, Any]:
    """A file of `content/`. Raises ValueError where it is broken: it is part of the package."""
    path = CONTENT / name
    report = Report()
    source = parse_yaml(path.read_bytes(), path.name, report)
    if source is None or report.has_errors:
        raise ValueError("; ".join(map(str, report.problems)))
    return dict(source.data)


def _power_of_two(values: list[bytes]) -> tuple[list[bytes], int]:
    """As many values as a mask can pick, and the mask."""
    size = 1 << (len(values).bit_length() - 1)
    return values[:size], size - 1


class Phrases:
    """The grammar of one language."""

    def __init__(self, language: str) -> None:
        described = read_content(f"{language}.yaml")
        space = " " if described["joins_with_spaces"] else ""
        stop = ". " if space else "。"
        heads, tails = described["heads"], described["tails"]
        nouns = [inside_json(f"{head}{space}{tail}") for head in heads for tail in tails]
        self.language = language
        self._nouns, self._noun_mask = _power_of_two(nouns)
        self._firsts = [noun + space.encode() for noun in self._nouns]
        verbs = [inside_json(f"{verb}{space}") for verb in described["verbs"]]
        self._verbs, self._verb_mask = _power_of_two(verbs)
        links = [inside_json(link) for link in described["links"]]
        self._links, self._link_mask = _power_of_two(links)
        self._stop = inside_json(stop.rstrip())
        pieces = (self._firsts, self._verbs, self._nouns, self._links)
        self.sentence_bytes = sum(sum(map(len, some)) // len(some) for some in pieces)

    def noun(self, rng: Random) -> bytes:
        return self._nouns[rng.getrandbits(16) & self._noun_mask]

    def sentences(self, rng: Random, count: int) -> bytes:
        """`count` ≥ 1 clauses joined into sentences, ending in a full stop."""
        draws = iter(memoryview(rng.randbytes(8 * count)).cast("H"))
        firsts, nouns, verbs, links = self._firsts, self._nouns, self._verbs, self._links
        noun_mask, verb_mask, link_mask = self._noun_mask, self._verb_mask, self._link_mask
        parts = [
            part
            for a, b, c, d in zip(draws, draws, draws, draws, strict=True)
            for part in (
                firsts[a & noun_mask],
                verbs[b & verb_mask],
                nouns[c & noun_mask],
                links[d & link_mask],
            )
        ]
        parts[-1] = self._stop
        return b"".join(parts)


@cache
def phrases(language: str) -> Phrases:
    return Phrases(language)


_CODE = (
    (b"def ", b"_", b"(", b"):\\n"),
    (b"    ", b" = ", b"(", b")\\n"),
    (b"    if ", b" is None: return ", b"[", b"]\\n"),
    (b"    for ", b" in ", b".", b"():\\n"),
    (b"        ", b".append(", b"[", b"])\\n"),
    (b"    return ", b" + ", b" * ", b"\\n"),
    (b"const ", b" = await ", b".", b"();\\n"),
    (b"select ", b", count(*) from ", b" group by ", b";\\n"),
)


@cache
def _names() -> list[bytes]:
    tails = [tail.split()[0] for tail in read_content("en.yaml")["tails"]]
    stems = ["", "new_", "old_", "raw_", "is_", "max_", "parse_", "to_"]
    return [f"{stem}{tail}".encode() for stem in stems for tail in tails]


def code(rng: Random, lines: int) -> bytes:
    """Lines that look like code, 27 random bits each."""
    names = _names()
    draws = iter(memoryview(rng.randbytes(8 * lines)).cast("H"))
    parts: list[bytes] = []
    for shape, a, b, c in zip(draws, draws, draws, draws, strict=True):
        w, x, y, z = _CODE[shape & 7]
        parts += (w, names[a & 511], x, names[b & 511], y, names[c & 511], z)
    return b"".join(parts)
