"""Which concepts a text speaks of: whole words by set, phrases and glyphs by search.

The cost is that of splitting the text once; a phrase is searched for only where its rarest word is
there, a glyph where its first character is.
"""

from __future__ import annotations

from collections.abc import Sequence

from .concepts import CONCEPTS, Concept
from .text import words_of

_GLYPH_LEADS = frozenset(range(0xE3, 0xEE))  # first bytes of U+3000 to U+DFFF
_NO_GLYPHS = bytes(range(0xE3))
_IN_EVERY_TEXT = frozenset(b"the a an to is of in on it and you your with what which as at".split())
Counts = tuple[int, ...]
"""Different words, phrases and glyphs of each concept that a text has."""


class Lexicon:
    """Concepts compiled for look-up. Words are folded as text is, so both always agree."""

    def __init__(self, concepts: Sequence[Concept] = CONCEPTS) -> None:
        words: dict[bytes, list[int]] = {}
        phrases: dict[bytes, list[tuple[bytes, bytes, int]]] = {}
        glyphs: dict[str, list[tuple[frozenset[str], str, int]]] = {}
        for place, concept in enumerate(concepts):
            for word in set(concept.words.split()):
                words.setdefault(_joined(word), []).append(place)
            for phrase in map(_joined, concept.phrases):
                first, second = _anchors(phrase)
                phrases.setdefault(first, []).append((second, phrase, place))
            for glyph in set(concept.glyphs.split()):
                glyphs.setdefault(glyph[0], []).append((frozenset(glyph), glyph, place))
        self.nothing: Counts = (0,) * len(concepts)
        self._entries = {
            word: (tuple(words.get(word, ())), tuple(phrases.get(word, ())))
            for word in {**words, **phrases}
        }
        self._glyphs = {char: tuple(pairs) for char, pairs in glyphs.items()}
        # Whatever a text has of these is looked at once more; nothing else costs anything.
        self._looked_for = frozenset(self._entries).union(
            [second for some in phrases.values() for second, _, _ in some]
        )
        self._chars = frozenset(self._glyphs).union(
            *(chars for some in glyphs.values() for chars, _, _ in some)
        )

    def counts(self, text: list[bytes]) -> Counts:
        """Of the words of a text (`words_of`)."""
        found = list(self.nothing)
        entries = self._entries
        seen = self._looked_for.intersection(text)
        joined = b""
        for word in seen:
            if word in entries:
                places, phrases = entries[word]
                for place in places:
                    found[place] += 1
                for second, phrase, place in phrases:
                    if second in seen:
                        joined = joined or b" ".join(text)
                        if phrase in joined:
                            found[place] += 1
        return tuple(found)

    def with_glyphs(self, counts: Counts, text: str) -> Counts:
        """The same with what a text says in scripts that put no spaces between words."""
        found = list(counts)
        seen = self._chars.intersection(text)
        for first in seen:
            for chars, glyph, place in self._glyphs.get(first, ()):
                if chars <= seen and glyph in text:
                    found[place] += 1
        return tuple(found)


def has_glyphs(raw: bytes) -> bool:
    """Whether there is anything of Chinese, Japanese or Korean in the bytes."""
    return not _GLYPH_LEADS.isdisjoint(raw.translate(None, _NO_GLYPHS))


def _joined(text: str) -> bytes:
    return b" ".join(words_of(text.encode()))


def _anchors(phrase: bytes) -> tuple[bytes, bytes]:
    """The two words by which a phrase is found, the rarer first: those that are in no every text,
    the longer the better."""
    ordered = sorted(phrase.split(b" "), key=lambda word: (word in _IN_EVERY_TEXT, -len(word)))
    return ordered[0], ordered[min(1, len(ordered) - 1)]
