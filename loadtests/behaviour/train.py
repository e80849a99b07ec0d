"""Accounts and groups of accounts as labelled rows, and models trained on them.

What is held out is a whole campaign, or a whole class of innocents for groups: a score that only
knows the campaigns it was trained on would say nothing about the next one. Groups are drawn as a
linker could come to propose them: accounts of one campaign, of one innocent class, and of anybody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np

from ...classifiers import account, cluster
from ...classifiers.cluster import Population
from ...classifiers.model import FeatureSet
from ...core.behaviour import Behaviour
from ...core.window import opened
from ...training.fit import FOLDS, Fitted, Floats, fit
from ...training.metrics import by_name, figures
from ...training.split import folds_of, groups_of
from .rows import Row

SIZES = (5, 12, 40, 120)
DRAWS = 4
NOBODY = "anybody"


@dataclass(slots=True)
class Table:
    """Rows of one level. `operators` are what folds keep together."""

    values: list[list[float]]
    truths: list[bool]
    operators: list[str]
    who: list[str]


def read(row: Row) -> Behaviour:
    numbers = opened(row.window, row.at_s)
    assert numbers is not None, "rows are of accounts that were active that day"
    return Behaviour(numbers, row.at_s)


def account_table(rows: Sequence[Row]) -> Table:
    """One row an account and day; an innocent is a group of its own."""
    table = Table([], [], [], [])
    for row in rows:
        table.values.append(account.account_values(read(row)))
        table.truths.append(row.campaign is not None)
        table.operators.append(row.campaign or row.account)
        table.who.append(row.campaign or row.who)
    return table


def cluster_table(rows: Sequence[Row], seed: int) -> Table:
    """Groups of every world and day, each beside the population of that world and day."""
    table = Table([], [], [], [])
    rng = Random(seed)
    days: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        days[row.scenario, row.at_s].append(row)
    for _, some in sorted(days.items()):
        seen = [(row, read(row)) for row in some]
        population = Population([one for _, one in rng.sample(seen, min(len(seen), 500))])
        for name, is_campaign, members in _groups(seen, rng):
            values = cluster.cluster_values(members, population, size=len(members))
            table.values.append(values)
            table.truths.append(is_campaign)
            table.operators.append(name)
            table.who.append(name)
    return table


def _groups(
    seen: Sequence[tuple[Row, Behaviour]], rng: Random
) -> Iterator[tuple[str, bool, Sequence[Behaviour]]]:
    by_name: dict[tuple[str, bool], list[Behaviour]] = defaultdict(list)
    innocents = []
    for row, one in seen:
        by_name[row.campaign or row.who, row.campaign is not None].append(one)
        if row.campaign is None:
            innocents.append(one)
    by_name[NOBODY, False] = innocents
    for (name, is_campaign), members in sorted(by_name.items(), key=lambda pair: pair[0]):
        for size in SIZES:
            if size <= len(members):
                for _ in range(DRAWS):
                    yield name, is_campaign, rng.sample(members, size)


def train(table: Table, features: FeatureSet, head: str, about: dict[str, Any]) -> Fitted:
    """Raises ValueError where there is not enough of either side."""
    truth = np.array(table.truths, dtype=bool)
    groups = groups_of(table.operators)
    folds = folds_of(groups, table.who, FOLDS)
    everything = np.ones(len(truth), dtype=bool)
    return fit(as_array(table), {head: truth}, folds, everything, features, about=about)


def as_array(table: Table) -> Floats:
    return np.array(table.values, dtype=np.float64)


def told(table: Table, scores: Floats, threshold: float) -> list[str]:
    """Figures of held-out scores, all and by campaign or class, as lines of text."""
    truth = np.array(table.truths, dtype=bool)
    lines = [f"all: {figures(scores, truth, threshold)}"]
    for name, found in by_name(scores, truth, table.who, threshold).items():
        lines.append(f"  {name:24}{found}")
    return lines


def auc_by_campaign(table: Table, scores: Floats) -> dict[str, float]:
    """Of each campaign against all innocents."""
    truth, who = np.array(table.truths, dtype=bool), np.array(table.who)
    found = {}
    for name in sorted(set(who[truth].tolist())):
        inside = ~truth | (who == name)
        found[name] = float(figures(scores[inside], truth[inside], 1.0)["auc"])
    return found
