"""What padding does to the order of scores: every kind of request is padded, the honest ones too.

An adversary surrounds instructions with prose; honest applications carry documents along. How far
a score falls says little if all fall alike, so padded requests are compared with padded ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from random import Random

import numpy as np

from ...model import TASKS
from ...training.fit import FOLDS, Floats, Truths, held_out
from ...training.metrics import figures
from ...training.rows import Rows
from ...training.split import folds_of, groups_of
from ...training.train import matrix
from ..worlds.phrases import phrases, plain
from .corpus import Example
from .rewriting import rewritten

ONE_ACCOUNT_IN = 6
SENTENCES = (8, 70)  # 400 bytes to 3.5 KB
PLACES = ("before", "after", "around")


def padded_examples(seed: str, found: Iterable[Example]) -> Iterator[Example]:
    """A padded copy of all that some accounts ask; half of them with the same prose each time."""
    for one in found:
        rng = Random(f"{seed}/{one.account}")
        if rng.randrange(ONE_ACCOUNT_IN):
            continue
        place, has_one_prose = rng.choice(PLACES), rng.random() < 0.5
        prose = rng if has_one_prose else Random(f"{seed}/{one.body!r}")

        def pad(text: str, place: str = place, rng: Random = prose, one: Example = one) -> str:
            before = _prose(rng, one.language) + "\n\n" if place != "after" else ""
            after = "\n\n" + _prose(rng, one.language) if place != "before" else ""
            return before + text + after

        yield replace(one, body=rewritten(one.body, pad))


def _prose(rng: Random, language: str) -> str:
    return plain(phrases(language).sentences(rng, rng.randint(*SENTENCES)))


def order_kept(plain_rows: Rows, padded_rows: Rows) -> dict[str, dict[str, float]]:
    """By task, AUC among plain requests and among padded ones, of operators and template sources
    that the weights never saw; nor did they see anything padded."""
    both = [matrix(plain_rows), matrix(padded_rows)]
    columns = [
        plain_rows.column(n) + padded_rows.column(n) for n in ("operator", "source", "tasks")
    ]
    folds = np.asarray(folds_of(groups_of(*columns[:2]), columns[2], FOLDS))
    is_plain = np.arange(len(folds)) < len(plain_rows.labels)
    values, trains = (np.concatenate([one[n] for one in both]) for n in (0, 2))
    found = {}
    for task in TASKS:
        truth = np.concatenate([truths[task] for _, truths, _ in both])
        scores = held_out(values, truth, folds, trains & is_plain)
        found[task] = {
            name: _area(scores[chosen & trains], truth[chosen & trains])
            for name, chosen in (("plain", is_plain), ("padded", ~is_plain))
        }
    return found


def _area(scores: Floats, truth: Truths) -> float:
    return float(figures(scores, truth, 1.0)["auc"])
