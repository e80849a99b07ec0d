"""Whether the holders of one value are one hand: how they agree in what the platform knows.

A popular public template is held by accounts that differ in everything else, and by small honest
groups: an agency's keys with one payer, a classroom behind one address, a cohort that signed up in
one hour. Each such group is explained by *one* shared value that covers all of it. A pool bought
in bulk is not: its payers, signup addresses, mail domains and bursts overlap crosswise, so that
together they tie far more accounts than any one of them covers.

So a *seed* (one value and all who show it) is examined like this. *Coincidences* are values of
the facts or relay blocks that at least two holders share among themselves and few others show.
Holders tied by coincidences form components. A component counts when no single coincidence covers
more than `MOST_EXPLAINED` of it and at least two families tie it. The score, in nats, is

    d · KL(p ‖ p0),   p the share in such components of those holders who share any tying value with
                      anybody at all (whoever shares nothing could be in none, so that strangers
                      who show the seed too do not thin a pool out), p0 = `NULL_SHARE`,
    d half the number of coincidences there (each ties at least two accounts, so no more draws
    than that are independent)

which is Chernoff's bound on the tail of a binomial. It is a score, not a probability: what false
alarms it gives is measured (docs/adr/0008). Ideas from FRAUDAR (KDD 2016) and D-Cube (WSDM 2017):
dense blocks against the background, which camouflage does not thin out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from math import log

from .evidence import Block
from .graph import Graph, Value

LEAST_HOLDERS = 8
LEAST_COINCIDENCES = 4
LEAST_SHARE = 0.2
MOST_SCORED = 4_000  # holders that are looked at; of more, those who came last
LEAST_EXCLUSIVE = 0.34  # of a coincidence's holders, how many must hold the seed
MOST_EXPLAINED = 0.67  # of a component by one coincidence; honest groups measured: 1.0
LEAST_COMPONENT = 8
NULL_SHARE = 0.05
LEAST_OWN = 0.9
LEAST_OWN_HOLDERS = 12
TYING = frozenset({Block.FACTS, Block.RELAY})


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one family ties: `covered` members in `groups` coincidences."""

    family: str
    covered: int
    groups: int


@dataclass(slots=True)
class Candidate:
    """A seed that was looked at: `members` are in components that count, tied by
    `coincidences` (numbers of values). `score` in nats; `examined` holders were looked at."""

    seed: int
    holders: int
    examined: int
    score: float
    agreements: list[Agreement]
    members: set[int]
    coincidences: set[int]


def examine(graph: Graph, seed: int) -> Candidate | None:
    """None where there is nothing to say: few holders, or nothing that ties them crosswise."""
    value = graph.values[seed]
    if value.block in TYING:
        return None  # what the platform knows says who agrees, not who is asked
    holders = _holders(graph, value)
    if len(holders) < LEAST_HOLDERS:
        return None
    ties = _coincidences(graph, value, holders)
    members: set[int] = set()
    kept: dict[int, list[int]] = {}
    for component, tying in _components(ties):
        if _is_crosswise(graph, component, {number: ties[number] for number in tying}):
            members |= component
            kept.update({number: ties[number] for number in tying})
    share = len(members) / max(1, _sharers(graph, holders))
    if len(kept) < LEAST_COINCIDENCES or share < max(LEAST_SHARE, NULL_SHARE):
        return None
    score = len(kept) / 2 * _divergence(min(1.0, share), NULL_SHARE)
    return Candidate(
        seed,
        len(value.holders),
        len(holders),
        score,
        _agreements(graph, kept),
        members,
        set(kept),
    )


def _holders(graph: Graph, value: Value) -> list[int]:
    """Whoever may be linked, the latest first, at most `MOST_SCORED`."""
    latest = islice(reversed(value.holders), MOST_SCORED)
    return [number for number in latest if not graph.accounts[number].is_exempt]


def _sharers(graph: Graph, holders: list[int]) -> int:
    """How many of them share a value that could tie with any other account."""
    mask = sum(
        1 << family for family in range(len(graph.families)) if graph.block_of(family) in TYING
    )
    return sum(1 for number in holders if graph.accounts[number].shares & mask)


def _coincidences(graph: Graph, seed: Value, holders: list[int]) -> dict[int, list[int]]:
    """value → the holders that share it, where the value is mostly theirs."""
    values, accounts = graph.values, graph.accounts
    found: dict[int, list[int]] = defaultdict(list)
    for holder in holders:
        for number in accounts[holder].values:
            value = values[number]
            if value.block in TYING and value.block is not seed.block and len(value.holders) > 1:
                found[number].append(holder)
    held = len(seed.holders) / max(1, len(accounts))
    return {
        number: who
        for number, who in found.items()
        if len(who) >= 2 and is_exclusive(len(who), len(values[number].holders), held)
    }


def is_exclusive(inside: int, holders: int, held: float) -> bool:
    """Whether a value belongs to a seed's holders, who are the share `held` of all accounts: more
    of its own are among them than chance would put there, so that a hub that everybody shares is
    none."""
    return inside >= max(LEAST_EXCLUSIVE, min(0.9, 3 * held)) * holders


def _components(ties: dict[int, list[int]]) -> list[tuple[set[int], list[int]]]:
    """(accounts, the values that tie them) of each connected component; by union and find."""
    parent: dict[int, int] = {}

    def root(number: int) -> int:
        while parent.setdefault(number, number) != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for who in ties.values():
        first = root(who[0])
        for other in who[1:]:
            parent[root(other)] = first
    accounts: dict[int, set[int]] = defaultdict(set)
    for number in list(parent):
        accounts[root(number)].add(number)
    tying: dict[int, list[int]] = defaultdict(list)
    for value, who in ties.items():
        tying[root(who[0])].append(value)
    return [(accounts[number], tying[number]) for number in sorted(accounts)]


def _is_crosswise(graph: Graph, component: set[int], ties: dict[int, list[int]]) -> bool:
    """No single shared value explains the component, and more than one kind of value ties it."""
    largest = max(map(len, ties.values()))
    families = {graph.values[number].family for number in ties}
    return (
        len(component) >= LEAST_COMPONENT
        and largest <= MOST_EXPLAINED * len(component)
        and len(families) > 1
    )


def marks_of(graph: Graph, members: set[int]) -> set[int]:
    """Values outside of what ties that are the group's own: `LEAST_OWN_HOLDERS` of it show them,
    and nine of ten who show them are in it."""
    counts: dict[int, int] = defaultdict(int)
    for number in islice(sorted(members, reverse=True), MOST_SCORED):
        for value in graph.accounts[number].values:
            counts[value] += 1
    return {
        number
        for number, count in counts.items()
        if count >= LEAST_HOLDERS
        and graph.values[number].block not in TYING
        and count >= LEAST_OWN * len(graph.values[number].holders)
    }


def _agreements(graph: Graph, ties: dict[int, list[int]]) -> list[Agreement]:
    """By family, the widest first."""
    covered: dict[int, set[int]] = defaultdict(set)
    groups: dict[int, int] = defaultdict(int)
    for number, who in ties.items():
        family = graph.values[number].family
        covered[family].update(who)
        groups[family] += 1
    found = [
        Agreement(graph.families[family], len(who), groups[family])
        for family, who in covered.items()
    ]
    return sorted(found, key=lambda one: (-one.covered, one.family))


def _divergence(p: float, q: float) -> float:
    """Kullback–Leibler divergence of two coins, in nats; q lies inside 0..1."""
    found = p * log(p / q) if p > 0 else 0.0
    return found + ((1 - p) * log((1 - p) / (1 - q)) if p < 1 else 0.0)
