"""What a group of accounts looks like beside everybody else: uniform within, rare without.

Judging the group instead of its members is what published work on clusters of fake accounts found
to carry: members that look ordinary one by one are too alike together. Each feature compares the
members' windows with those of a sample of the population, so that what all customers do alike says
nothing. Runs on demand, off the hot path; `MAX_MEMBERS` and `MAX_POPULATION` bound the work.

Source: Xiao, Freeman and Hwa, "Detecting Clusters of Fake Accounts in Online Social Networks",
AISec 2015: mean, spread and entropy of members' features, classified by cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from math import sqrt
from statistics import fmean, pstdev

from ..core import window as at
from ..core.behaviour import Behaviour
from .account import FEATURES as ACCOUNT
from .account import account_values, bounded, scaled
from .model import Feature, FeatureSet, LinearModel, read_model

HEAD = "one_hand"
LEAST_MEMBERS = 5
MAX_MEMBERS, MAX_POPULATION = 200, 500
LARGE = 1_000

_COMPARED = (
    ("volume", "requests a day"),
    ("long_answers", "length of answers"),
    ("long_prompts", "length of prompts"),
    ("even_day", "evenness of the day"),
    ("many_hours", "active hours"),
    ("gap_alike", "rhythm of pauses"),
    ("networks", "number of networks"),
    ("streamed", "share of streams"),
    ("harvest_tasks", "share of harvesting tasks"),
    ("narrow_tasks", "narrowness of tasks"),
)
_SHAPES = (
    ("hours", "hours of the day"),
    ("gaps", "pauses between requests"),
    ("tasks", "tasks"),
)
_MODES = (
    ("newest_model", "the model taken up last"),
    ("switch_hour", "the hour in which they changed models"),
    ("parameters", "the number of parameter settings"),
)
_OTHERS = (
    ("size", "has many members"),
    ("rigid_share", "has members that never vary parameters, more than others do"),
)
_FEATURES = (
    *((f"alike_{name}", f"has members alike in {words}") for name, words in _COMPARED),
    *((f"far_{name}", f"lies far from everybody else in {words}") for name, words in _COMPARED),
    *((f"same_{name}", f"has members with the same {words}") for name, words in _SHAPES),
    *((f"rare_{name}", f"has {words} that others do not have") for name, words in _SHAPES),
    *(
        (f"one_{name}", f"has members that share {words}, more than others do")
        for name, words in _MODES
    ),
    *_OTHERS,
)
FEATURES = FeatureSet("cluster/1", tuple([Feature(*one) for one in _FEATURES]))


class Population:
    """A sample of all accounts, worked out once for many clusters.

    Raises ValueError for fewer than `LEAST_MEMBERS`.
    """

    def __init__(self, accounts: Sequence[Behaviour]) -> None:
        if len(accounts) < LEAST_MEMBERS:
            raise ValueError("too few accounts to compare with")
        some = accounts[:MAX_POPULATION]
        self.values = _columns(some)
        self.spreads = {name: pstdev(column) for name, column in self.values.items()}
        self.means = {name: fmean(column) for name, column in self.values.items()}
        self.shapes = {name: _mean_shape(some, name) for name, _ in _SHAPES}
        self.modes = {name: Counter(map(read, some)) for name, read in _READS.items()}
        self.count = len(some)


def cluster_values(
    members: Sequence[Behaviour], population: Population, *, size: int
) -> list[float]:
    """By feature, in order. `members` are at least `LEAST_MEMBERS` of the cluster's `size`."""
    some = members[:MAX_MEMBERS]
    columns = _columns(some)
    names = [name for name, _ in _COMPARED]
    alike = [_alike(columns[name], population.spreads[name]) for name in names]
    far = [_far(columns[name], population.means[name], population.spreads[name]) for name in names]
    same, rare = [], []
    for name, _ in _SHAPES:
        mean = _mean_shape(some, name)
        same.append(fmean([_cosine(_shape(one, name), mean) for one in some]))
        rare.append(1.0 - _cosine(mean, population.shapes[name]) if any(mean) else 0.0)
    modes = [
        _excess(read, some, population.modes[name], population.count)
        for name, read in _READS.items()
    ]
    rigid = bounded(fmean(columns["rigid"]) - population.means["rigid"])
    return [*alike, *far, *same, *rare, *modes, scaled(size, LARGE), rigid]


def read_cluster_model(raw: bytes, where: str) -> LinearModel:
    """Raises ModelError where the file does not fit `FEATURES`."""
    return read_model(raw, FEATURES, where)


# ── one number a member ──────────────────────────────────────────────────────────────────────


def _columns(accounts: Sequence[Behaviour]) -> dict[str, list[float]]:
    rows = [account_values(seen) for seen in accounts]
    return dict(zip(ACCOUNT.names, map(list, zip(*rows, strict=True)), strict=True))


def _alike(column: Sequence[float], spread: float) -> float:
    """1 where members do not differ, 0 where they differ as everybody does."""
    return bounded(1.0 - pstdev(column) / spread) if spread else 0.0


def _far(column: Sequence[float], mean: float, spread: float) -> float:
    """The distance of the means, 1 from three spreads of the population on."""
    return bounded(abs(fmean(column) - mean) / spread / 3) if spread else 0.0


# ── one shape a member ───────────────────────────────────────────────────────────────────────


def _shape(one: Behaviour, name: str) -> list[float]:
    """A histogram of the window, of length one; all zero where it is empty."""
    counts: Sequence[int] = getattr(one, name)
    length = sqrt(sum(count * count for count in counts))
    return [count / length for count in counts] if length else [0.0] * len(counts)


def _mean_shape(accounts: Sequence[Behaviour], name: str) -> list[float]:
    shapes = [_shape(one, name) for one in accounts]
    return [fmean(column) for column in zip(*shapes, strict=True)]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = sqrt(sum(x * x for x in one)) * sqrt(sum(x * x for x in other))
    return (
        bounded(sum(x * y for x, y in zip(one, other, strict=True)) / lengths) if lengths else 0.0
    )


# ── one value a member ───────────────────────────────────────────────────────────────────────


def _switch_hour(one: Behaviour) -> Hashable:
    switch_s = one.model_switch_s()
    return None if switch_s is None else (one.now_s - switch_s) // at.HOUR_S


_READS: dict[str, Callable[[Behaviour], Hashable]] = {
    "newest_model": lambda one: one.newest_model or None,
    "switch_hour": _switch_hour,
    "parameters": lambda one: min(4, one.distinct(at.PARAMETERS)) or None,
}


def _excess(
    read: Callable[[Behaviour], Hashable],
    members: Sequence[Behaviour],
    population: Counter[Hashable],
    count: int,
) -> float:
    """How many more of the members than of the others have the members' commonest value."""
    values = Counter(value for value in map(read, members) if value is not None)
    if not values:
        return 0.0
    value, holders = values.most_common(1)[0]
    return bounded(holders / len(members) - population[value] / count)
