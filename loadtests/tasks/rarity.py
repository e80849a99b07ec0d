"""How rare the words of each concept are in parts of ordinary texts: `Concept.rarity`.

    python -m hydragate.loadtests.tasks.rarity --data DIR

Over the prose that generated worlds are padded with and public prompts and agents' conversations in
DIR. Rerun where a concept's words change, and train again.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from math import log
from pathlib import Path
from random import Random
from typing import Any

import click

from ...classifiers.concepts import CONCEPTS
from ...classifiers.lexicon import Lexicon
from ...classifiers.text import folded
from ..worlds.phrases import phrases, plain

SOURCES = (
    "prompts/B_openassistant_prompts",
    "prompts/B_koala_test_prompts",
    "prompts/B_polyglot_exercise_prompts",
    "workloads/C_sweagent_trajectories",
)
PART_CHARS = 512
LEAST_CHARS, MOST_CHARS = 700, 3_000  # of a text
TEXTS_EACH = 80
PADDINGS = 60
PADDING_SENTENCES = 60
STEPS = (1, 2, 3)


def texts(data: Path, rng: Random) -> Iterator[str]:
    """Prose of ours, and the first long texts of each source."""
    for _ in range(PADDINGS):
        yield plain(phrases("en").sentences(rng, PADDING_SENTENCES))
    for source in SOURCES:
        with gzip.open(data / f"{source}.jsonl.gz", "rt", encoding="utf-8") as lines:
            long = [one for line in lines for one in _said(json.loads(line))]
        yield from long[:TEXTS_EACH]


def _said(row: dict[str, Any]) -> list[str]:
    messages = row.get("messages")
    said = (
        [row.get("prompt")] if messages is None else [one.get("content") for one in messages[:12]]
    )
    return [one for one in said if isinstance(one, str) and len(one) >= LEAST_CHARS]


def rarities(found: Iterator[str]) -> list[tuple[int, ...]]:
    """By concept, for 1, 2, 3 or more different words: tenths of the logarithm of one in how many
    parts has as many. What no part has counts as half a part."""
    lexicon = Lexicon()
    parts = [
        lexicon.counts(
            lexicon.said(text[start : start + PART_CHARS].decode("utf-8", "ignore"))
        ).to_bytes(lexicon.size, "little")
        for text in (folded(json.dumps(one[:MOST_CHARS]).encode()).encode() for one in found)
        for start in range(0, len(text), PART_CHARS)
    ]
    return [
        tuple(
            round(10 * log((len(parts) + 1) / (sum(one[place] >= step for one in parts) + 0.5)))
            for step in STEPS
        )
        for place in range(lexicon.size)
    ]


@click.command()
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--seed", type=int, default=9, show_default=True)
def main(data: Path, seed: int) -> None:
    """Print each concept's rarity as `concepts.py` holds it."""
    for concept, found in zip(CONCEPTS, rarities(texts(data, Random(seed))), strict=True):
        state = "" if found == concept.rarity else "   not what it says now"
        click.echo(f"{concept.name:<20}rarity={found}{state}")


if __name__ == "__main__":
    main()
