"""Which concepts a text speaks of: one automaton finds every word, phrase and glyph in one pass.

Words and phrases have a space on both sides, as they have in a folded text, so that a word is never
found inside another; glyphs are found anywhere. The pass takes as long for a thousand words as for
one (A. Aho, M. Corasick, "Efficient string matching", 1975).
"""

from __future__ import annotations

from collections.abc import Sequence

from ahocorasick_rs import BytesAhoCorasick, Implementation

from .concepts import CONCEPTS, Concept
from .text import folded

MOST = 255  # words, phrases and glyphs of one concept that can be counted
_ENOUGH = 3  # of a concept in one text: what is more counts for no more
_AT_MOST_ENOUGH = bytes([min(count, _ENOUGH) for count in range(MOST + 1)])


class Lexicon:
    """Concepts compiled for look-up. Words are folded as text is, so both always agree."""

    def __init__(self, concepts: Sequence[Concept] = CONCEPTS) -> None:
        """Raises ValueError for a concept of more than `MOST` words, phrases and glyphs."""
        patterns: dict[bytes, int] = {}
        for place, concept in enumerate(concepts):
            said = _patterns(concept)
            if len(said) > MOST:
                raise ValueError(f"{concept.name}: over {MOST} words, phrases and glyphs")
            for one in said:
                patterns[one] = patterns.get(one, 0) + (1 << 8 * place)
        self.size = len(concepts)
        self._adds = tuple(patterns.values())
        # The table of a DFA takes 2 MB a process and half the time of the smaller automata.
        automaton = BytesAhoCorasick(patterns, implementation=Implementation.DFA)
        self._find = automaton.find_matches_as_indexes

    def counts(self, text: bytes) -> int:
        """Different words, phrases and glyphs of each concept that a folded text
        (`text.folded`) has, at most 3: one byte a concept, the first concept's the lowest, so
        that the counts of up to 85 texts can be added up."""
        found = self._find(text, True)
        if not found:
            return 0
        total = sum(map(self._adds.__getitem__, {which for which, _, _ in found}))
        counts = total.to_bytes(self.size, "little").translate(_AT_MOST_ENOUGH)
        return int.from_bytes(counts, "little")


def _patterns(concept: Concept) -> list[bytes]:
    words = [folded(said.encode()) for said in (*set(concept.words.split()), *concept.phrases)]
    return words + [glyph.encode() for glyph in set(concept.glyphs.split())]
