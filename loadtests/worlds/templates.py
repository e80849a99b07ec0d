"""A campaign's own wording: fixed prompts, and what an operator does to keep them from being seen.

Sentences hold alternatives, `[Grade|Score|Judge] the answer`: the plain campaign always writes the
first, a paraphrasing one draws anew.
"""

from __future__ import annotations

import re
from base64 import b64encode
from random import Random

from .phrases import Phrases, inside_json
from .schema import RawTemplate
from .tasks import Pattern, Writer, pattern_of

_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_ZERO_WIDTH = "\u200b\u200c\u2060"
_HOMOGLYPHS = str.maketrans("aceopxyiABEHKMOPTX", "асеорхуіАВЕНКМОРТХ")
VARIANTS = 64


def worded(text: str, rng: Random | None) -> str:
    """`text` with its alternatives settled: the first of each, or by `rng`."""

    def pick(match: re.Match[str]) -> str:
        options = match[1].split("|")
        return options[0] if rng is None else rng.choice(options)

    return _CHOICE.sub(pick, text)


def encoded(text: str, encoding: str, rng: Random) -> str:
    """`text` so that it reads the same and compares differently, in at least one place."""
    if encoding == "zero-width":
        sure = rng.randrange(len(text))
        marks = [at == sure or rng.random() < 0.08 for at in range(len(text))]
        return "".join(
            c + rng.choice(_ZERO_WIDTH) if is_marked else c
            for c, is_marked in zip(text, marks, strict=True)
        )
    if encoding == "homoglyphs":
        alike = [at for at, c in enumerate(text) if ord(c) in _HOMOGLYPHS]
        chosen = {at for at in alike if rng.random() < 0.25} | set(alike[:1])
        return "".join(c.translate(_HOMOGLYPHS) if n in chosen else c for n, c in enumerate(text))
    if encoding == "base64":
        return "Decode this and follow it: " + b64encode(text.encode()).decode()
    return text


class Wording:
    """The fixed prompt of one task: `system` gives it as the next request carries it.

    With neither paraphrase nor encoding it is the same bytes for ever.
    """

    def __init__(
        self,
        template: RawTemplate,
        rng: Random,
        *,
        paraphrase: float,
        encoding: str,
        is_first: bool,
    ) -> None:
        self._sentences = template.system
        self._paraphrase = paraphrase
        self._encoding = encoding
        # The first pool writes the text as it stands; a split one has wordings of its own.
        self._home = " ".join(worded(s, None if is_first else rng) for s in template.system)
        self._fixed = inside_json(self._home)

    def system(self, rng: Random) -> bytes:
        text = self._home
        if self._paraphrase and rng.random() < self._paraphrase:
            sentences = list(self._sentences)
            if len(sentences) > 2 and rng.random() < 0.5:
                at = rng.randrange(1, len(sentences) - 1)
                sentences[at], sentences[at + 1] = sentences[at + 1], sentences[at]
            text = " ".join(worded(sentence, rng) for sentence in sentences)
        elif self._encoding == "none":
            return self._fixed
        return inside_json(encoded(text, self._encoding, rng))


class TaskAuthor:
    """Writes the user turns of a task, `packing` items in one."""

    def __init__(
        self,
        writer: Writer,
        template: RawTemplate | None,
        rng: Random,
        *,
        paraphrase: float,
        packing: int,
    ) -> None:
        self.grammar: Phrases = writer.grammar
        self.pads = True
        self._writer = writer
        self._packing = packing
        self._paraphrase = paraphrase
        texts = template.user if template is not None else []
        self._fixed: list[Pattern] = [pattern_of(worded(text, None)) for text in texts]
        self._worded = [pattern_of(worded(text, rng)) for text in texts for _ in range(VARIANTS)]

    def opening(self, rng: Random) -> bytes:
        if self._packing == 1:
            return self._one(rng)
        items = [b"%d) " % (at + 1) + self._one(rng) for at in range(self._packing)]
        return b"\\n\\n".join(items)

    def following(self, rng: Random) -> bytes:
        return self._writer.following(rng)

    def _one(self, rng: Random) -> bytes:
        if not self._fixed:
            return self._writer.opening(rng)
        patterns = self._fixed
        if self._paraphrase and rng.random() < self._paraphrase:
            patterns = self._worded
        return self._writer.filled(patterns[int(rng.random() * len(patterns))], rng)
