"""What is asked and answered, by kind of task and language: compiled from `content/tasks.yaml`.

The kinds are shared by campaigns and honest customers, and so are the items of workloads, real
ones where a folder of data is given.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from random import Random

from .phrases import Phrases, code, inside_json, phrases, read_content

MAX_ITEMS = 20_000
MAX_ITEM_CHARS = 1_200
_HOLE = re.compile(r"\{(s|code|list|item|w|n)(\d*)\}")
Part = bytes | tuple[str, int]
Pattern = tuple[Part, ...]
ANSWERS = ("prose", "json", "score", "code", "short", "tool", "none")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of task, and the shape of its answers. `tools`: the set that it is done with;
    None: any."""

    name: str
    answer: str
    systems: tuple[bytes, ...]
    opens: Mapping[str, tuple[Pattern, ...]]
    follows: Mapping[str, tuple[Pattern, ...]]
    data: tuple[str, ...]
    tools: str | None


def pattern_of(text: str) -> Pattern:
    """A text with holes, ready to be filled. `\\n` in it is a line break."""
    parts: list[Part] = []
    at = 0
    for hole in _HOLE.finditer(text):
        if hole.start() > at:
            parts.append(_literal(text[at : hole.start()]))
        parts.append((hole[1], int(hole[2] or 1)))
        at = hole.end()
    if at < len(text):
        parts.append(_literal(text[at:]))
    return tuple(parts)


def _literal(text: str) -> bytes:
    return inside_json(text.replace("\\n", "\n"))


@cache
def kinds() -> dict[str, Kind]:
    """All kinds by name."""
    return {
        name: Kind(
            name=name,
            answer=raw["answer"],
            systems=tuple(inside_json(text) for text in raw["systems"]),
            opens=_patterns(raw["opens"]),
            follows=_patterns(raw.get("follows") or raw["opens"]),
            data=tuple(raw.get("data", ())),
            tools=raw.get("tools"),
        )
        for name, raw in read_content("tasks.yaml")["kinds"].items()
    }


def _patterns(by_language: dict[str, list[str]]) -> dict[str, tuple[Pattern, ...]]:
    return {name: tuple(map(pattern_of, texts)) for name, texts in by_language.items()}


@lru_cache(maxsize=64)
def items_of(files: tuple[str, ...], data_dir: Path | None) -> tuple[bytes, ...]:
    """Items of the workload files that are there, escaped; empty where there are none."""
    found: list[bytes] = []
    for name in files if data_dir is not None else ():
        assert data_dir is not None
        path = data_dir / name
        if not path.is_file():
            continue
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                text = _item_text(json.loads(line))
                if text and len(found) < MAX_ITEMS:
                    found.append(inside_json(text[:MAX_ITEM_CHARS]))
    return tuple(found)


def _item_text(row: dict[str, object]) -> str:
    """The prompt of a row, whatever its file calls it."""
    for name in ("prompt", "question", "turns", "messages"):
        value = row.get(name)
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            return value
    return ""


class Writer:
    """Writes what users ask, in one kind and language.

    `items` are the workload's; where there are none, sentences stand in.
    """

    __slots__ = ("_follows", "_items", "_opens", "grammar", "kind", "pads")

    def __init__(self, kind: Kind, language: str, items: tuple[bytes, ...]) -> None:
        spoken = language if language in kind.opens else "en"
        self.kind = kind
        self.pads = True
        self.grammar = phrases(spoken)
        self._opens = kind.opens[spoken]
        self._follows = kind.follows.get(spoken) or kind.opens[spoken]
        self._items = items

    def opening(self, rng: Random) -> bytes:
        opens = self._opens
        return self.filled(opens[int(rng.random() * len(opens))], rng)

    def following(self, rng: Random) -> bytes:
        follows = self._follows
        return self.filled(follows[int(rng.random() * len(follows))], rng)

    def filled(self, pattern: Pattern, rng: Random) -> bytes:
        parts = [
            part if isinstance(part, bytes) else self._fill(part[0], part[1], rng)
            for part in pattern
        ]
        return b"".join(parts)

    def _fill(self, hole: str, count: int, rng: Random) -> bytes:
        if hole == "s":
            return self.grammar.sentences(rng, count)
        if hole == "w":
            return self.grammar.noun(rng)
        if hole == "code":
            return code(rng, count)
        if hole == "n":
            return b"%d" % rng.randrange(10_000, 100_000)
        if hole == "list":
            lines = [self.grammar.sentences(rng, 1) for _ in range(count)]
            return b"- " + b"\\n- ".join(lines)
        if self._items:
            return self._items[int(rng.random() * len(self._items))]
        return self.grammar.sentences(rng, 3)


class Suite:
    """A writer whose openings are the same few again and again: an assignment, a test suite."""

    __slots__ = ("_openings", "_writer", "grammar", "pads")

    def __init__(self, writer: Writer, rng: Random, count: int) -> None:
        self.grammar = writer.grammar
        self.pads = False
        self._writer = writer
        self._openings = [writer.opening(rng) for _ in range(count)]

    def opening(self, rng: Random) -> bytes:
        return self._openings[int(rng.random() * len(self._openings))]

    def following(self, rng: Random) -> bytes:
        return self._writer.following(rng)


def answer_text(kind: Kind, grammar: Phrases, rng: Random, sentences: int) -> bytes:
    """What the model answers, escaped; `sentences` says how much of it there is."""
    shape = kind.answer
    if shape == "code":
        body = code(rng, 2 * sentences)
        return b"```\\n" + body + b"```\\n" + grammar.sentences(rng, max(1, sentences // 2))
    if shape == "json":
        return _json_answer(grammar, rng, sentences)
    if shape == "score":
        scores = b", ".join(b"%d/5" % rng.randrange(1, 6) for _ in range(4))
        return grammar.sentences(rng, sentences) + b"\\nScores: " + scores
    if shape == "short":
        return grammar.sentences(rng, 1) + b"\\n#### %d" % rng.randrange(1, 10_000)
    return grammar.sentences(rng, sentences)


def _json_answer(grammar: Phrases, rng: Random, sentences: int) -> bytes:
    note = grammar.sentences(rng, sentences)
    return b'{\\"name\\": \\"%b\\", \\"amount\\": %d, \\"keep\\": %b, \\"note\\": \\"%b\\"}' % (
        grammar.noun(rng),
        rng.randrange(1, 5_000),
        b"true" if rng.random() < 0.7 else b"false",
        note,
    )
