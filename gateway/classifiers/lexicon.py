"""Which concepts a text speaks of: one automaton finds every word, phrase and glyph in one pass.

Words and phrases have a space on both sides, as they have in a folded text, so that a word is never
found inside another; glyphs are found anywhere. The pass takes as long for a thousand words as for
one (A. Aho, M. Corasick, "Efficient string matching", 1975).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add, getitem

from ahocorasick_rs import AhoCorasick, Implementation

from .concepts import CONCEPTS, Concept
from .text import folded

MOST = 255  # words, phrases and glyphs of one concept that can be counted
_ENOUGH = 3  # of a concept in one text: what is more counts for no more
HALF_PART_CHARS = 384
_HALF_AND_A_WORD = HALF_PART_CHARS + 24
_LOOKED_AT = 3  # parts, by what their words come to one by one
_AT_MOST_ENOUGH = bytes([min(count, _ENOUGH) for count in range(MOST + 1)])


class Lexicon:
    """Concepts compiled for look-up. Words are folded as text is, so both always agree."""

    def __init__(self, concepts: Sequence[Concept] = CONCEPTS) -> None:
        """Raises ValueError for a concept of more than `MOST` words, phrases and glyphs."""
        adds: dict[str, int] = {}
        for place, concept in enumerate(concepts):
            said = _patterns(concept)
            if len(said) > MOST:
                raise ValueError(f"{concept.name}: over {MOST} words, phrases and glyphs")
            for one in said:
                adds[one] = adds.get(one, 0) + (1 << 8 * place)
        self.size = len(concepts)
        self._adds = adds
        self._added_by = adds.__getitem__
        # The table of a DFA takes 3 MB a process and half the time of the smaller automata. What
        # is found comes as the stored pattern itself, which costs less than a tuple of numbers.
        automaton = AhoCorasick(adds, store_patterns=True, implementation=Implementation.DFA)
        self._find = automaton.find_matches_as_strings
        self._rarities = tuple([(0, *one.rarity) for one in concepts])
        self._rarities_of_one = {one: self._rarity([one]) for one in self._adds}

    def said(self, text: str) -> set[str]:
        """The different words, phrases and glyphs of a folded text (`text.folded`)."""
        return set(self._find(text, True))

    def strongest(self, text: str) -> set[str]:
        """Those of the part of a folded text, `2 * HALF_PART_CHARS` long, that says what ordinary
        texts say least: where instructions stand between other things."""
        find = self._find
        halves = [
            set(find(text[start : start + _HALF_AND_A_WORD], True))
            for start in range(0, len(text), HALF_PART_CHARS)
        ]
        rarity_of = self._rarities_of_one.__getitem__
        rough = [sum(map(rarity_of, half)) for half in halves]
        both = list(map(add, rough, (*rough[1:], 0)))
        likely = sorted(range(len(both)), key=both.__getitem__, reverse=True)[:_LOOKED_AT]
        parts = [halves[place].union(*halves[place + 1 : place + 2]) for place in likely]
        return max(parts, key=self._rarity, default=set())

    def counts(self, said: set[str]) -> int:
        """How many of each concept, at most 3: one byte a concept, the first concept's the
        lowest, so that the counts of up to 85 texts can be added up."""
        return int.from_bytes(self._counts(said), "little") if said else 0

    def _counts(self, said: Iterable[str]) -> bytes:
        total = sum(map(self._added_by, said))
        return total.to_bytes(self.size, "little").translate(_AT_MOST_ENOUGH)

    def _rarity(self, said: Iterable[str]) -> int:
        return sum(map(getitem, self._rarities, self._counts(said)))


def _patterns(concept: Concept) -> list[str]:
    words = [folded(said.encode()) for said in (*set(concept.words.split()), *concept.phrases)]
    return words + list(set(concept.glyphs.split()))
