"""Whether the holders of one value are one hand: how they agree in what the platform knows.

A popular public template is held by accounts that differ in everything else, and by small honest
groups: an agency's keys with one payer, a classroom behind one address, a cohort that signed up in
one hour. Such a group is explained by *one* cause, which shows in several facts at once: its payer,
its domain, its address and its hour have the same accounts. A pool that was bought in lots is not:
each lot of cards, addresses or hours has other accounts.

So a *seed* (one value and all who show it) is examined like this. *Coincidences* are values of
the facts block that at least two holders (of an hour of signing up, four) share among themselves
and few others show, and rings of the relay block. Two measures are taken of them, and the higher
one counts (docs/adr/0015):

*Crosswise components.* Coincidences tie holders into components. One counts when no single fact
covers more than `MOST_EXPLAINED` of it, and either a ring or two families of facts tie it. The
score is d · KL(p ‖ p0), Chernoff's bound on the tail of a binomial: p the share in such components
of those holders who share any fact with anybody (strangers who show the seed too do not thin a
pool out), p0 = `NULL_SHARE`, d half the number of coincidences (each ties at least two accounts).

*Loose lots* (see `lots`), for pools whose lots are too small or too old to touch.

Both are scores, not probabilities: what false alarms they give is measured
(`loadtests.false_alarms`).
Ideas from FRAUDAR (KDD 2016) and D-Cube (WSDM 2017): dense blocks against the background, which
camouflage does not thin out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log

from .egress import has_ways_of_its_own, is_domain
from .evidence import Block
from .graph import RINGS, TYING, Graph, Value
from .joined import Joined
from .lots import NO_LOTS, loose_lots

LEAST_HOLDERS = 8
LEAST_COINCIDENCES = 4
LEAST_SHARE = 0.2
MOST_SCORED = 4_000  # holders that are looked at; of more, those who came last
OVERLAP = 1_000
LEAST_EXCLUSIVE = 0.34  # of a coincidence's holders, how many must hold the seed
MOST_EXPLAINED = 0.67  # of a component by one fact; honest groups measured: 1.0
LEAST_COMPONENT = 8
NULL_SHARE = 0.05
LEAST_OWN = 0.9
LEAST_OWN_HOLDERS = 12
LEAST_TIED = 0.4  # of those who show a seed and a rare origin, how many are tied
VAGUE = frozenset({"question_head"})

Ties = Mapping[int, list[int]]
"""A coincidence's number → the holders of the seed that share it."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one family ties: `covered` members in `groups` coincidences."""

    family: str
    covered: int
    groups: int


@dataclass(slots=True)
class Candidate:
    """A seed that was looked at: `members` are tied by `coincidences` (numbers of values). `score`
    in nats; `examined` holders were looked at. `is_crosswise` says which measure was higher."""

    seed: int
    holders: int
    examined: int
    score: float
    agreements: list[Agreement]
    members: set[int]
    coincidences: set[int]
    is_crosswise: bool


def examine(graph: Graph, seed: int, *, unseen: int = 0) -> list[Candidate]:
    """What there is to say of its holders: nothing where they are few, or nothing ties them
    crosswise. `unseen` of them came since the seed was last examined; where they are more than
    `MOST_SCORED`, so that the latest are not all of them, they are looked at part after part."""
    value = graph.values[seed]
    if value.block is Block.FACTS:
        return []  # what the platform knows says who agrees, not who is asked
    parts = (_examine(graph, seed, holders) for holders in _parts(graph, value, unseen))
    return [found for found in parts if found is not None]


def together(candidates: Sequence[Candidate]) -> Candidate:
    """Parts of one seed's holders, at least one, as one candidate with the highest score."""
    first, *others = sorted(candidates, key=lambda one: -one.score)
    for other in others:
        first.examined += other.examined
        first.members |= other.members
        first.coincidences |= other.coincidences
        first.agreements += other.agreements
    if others:
        covered: Counter[str] = Counter()
        groups: Counter[str] = Counter()
        for one in first.agreements:
            covered[one.family] += one.covered
            groups[one.family] += one.groups
        first.agreements = _by_width(Agreement(f, covered[f], groups[f]) for f in covered)
    return first


def _examine(graph: Graph, seed: int, holders: list[int]) -> Candidate | None:
    if len(holders) < LEAST_HOLDERS:
        return None
    value = graph.values[seed]
    ties = _coincidences(graph, value, holders)
    if not ties:
        return None
    crosswise = _crosswise(graph, ties)
    score = _crosswise_score(graph, holders, crosswise)
    is_plain = graph.name_of(value) not in VAGUE
    lots = loose_lots(graph, seed, ties, holders) if is_plain else NO_LOTS
    if not score and not lots.score:
        return None
    kept = dict(crosswise if score else {}) | lots.ties
    return Candidate(
        seed,
        len(value.holders),
        len(holders),
        max(score, lots.score),
        _agreements(graph, kept),
        {number for who in kept.values() for number in who},
        set(kept),
        score >= lots.score,
    )


def _parts(graph: Graph, value: Value, unseen: int) -> Iterator[list[int]]:
    """Whoever may be linked, the latest first, at most `MOST_SCORED` at once. Parts overlap, so
    that what ties accounts is whole in one of them at least."""
    latest = list(islice(reversed(value.holders), max(unseen, MOST_SCORED)))
    for start in range(0, max(1, len(latest) - OVERLAP), MOST_SCORED - OVERLAP):
        part = latest[start : start + MOST_SCORED]
        if not graph.exempt.isdisjoint(part):
            part = [number for number in part if number not in graph.exempt]
        yield part


def _sharers(graph: Graph, holders: list[int]) -> int:
    """How many of them share a value that could tie with any other account."""
    mask = sum(
        1 << family for family in range(len(graph.families)) if graph.block_of(family) in TYING
    )
    return sum(1 for number in holders if graph.accounts[number].shares & mask)


def _coincidences(graph: Graph, seed: Value, holders: list[int]) -> dict[int, list[int]]:
    """value → the holders that share it, where the value is mostly theirs."""
    values = graph.values
    found: dict[int, list[int]] = defaultdict(list)
    for holder in filter(graph.ties.__contains__, holders):
        for number in graph.ties[holder]:
            found[number].append(holder)
    held = len(seed.holders) / max(1, len(graph.accounts))
    return {
        number: who
        for number, who in found.items()
        if len(who) >= graph.least_sharing[values[number].family]
        and values[number].block is not seed.block
        and is_exclusive(len(who), len(values[number].holders), held)
    }


def is_exclusive(inside: int, holders: int, held: float) -> bool:
    """Whether a value belongs to a seed's holders, who are the share `held` of all accounts: more
    of its own are among them than chance would put there, so that a hub that everybody shares is
    none. Of a seed that many show, half of those whom chance would leave outside must be inside: a
    pool that works through several templates has not shown each of them with every account yet."""
    by_chance = min(3 * held, (1 + held) / 2, 0.9)
    return inside >= max(LEAST_EXCLUSIVE, by_chance) * holders


def _components(ties: Ties) -> list[tuple[set[int], list[int]]]:
    """(accounts, the values that tie them) of each connected component."""
    joined = Joined()
    for who in ties.values():
        first, *others = who
        for other in others:
            joined.join(first, other)
    accounts: dict[int, set[int]] = defaultdict(set)
    for number in joined.numbers():
        accounts[joined.root(number)].add(number)
    tying: dict[int, list[int]] = defaultdict(list)
    for value, who in ties.items():
        tying[joined.root(who[0])].append(value)
    return [(accounts[number], tying[number]) for number in sorted(accounts)]


def _crosswise(graph: Graph, ties: Ties) -> dict[int, list[int]]:
    """The ties of the components that count."""
    kept: dict[int, list[int]] = {}
    for component, tying in _components(ties):
        if _is_crosswise(graph, component, {number: ties[number] for number in tying}):
            kept.update({number: ties[number] for number in tying})
    return kept


def _is_crosswise(graph: Graph, component: set[int], ties: Ties) -> bool:
    """Neither a single fact nor a single aggregator explains the component, and more than one kind
    of value ties it. A ring explains nothing: it is what is to be explained."""
    facts = {number for number in ties if graph.values[number].block is Block.FACTS}
    families = {graph.values[number].family for number in ties}
    if len(component) < LEAST_COMPONENT or (len(families) == 1 and len(facts) == len(ties)):
        return False
    explaining = facts - _domains_of_turns(graph, component, ties)
    covered = [len(ties[number]) for number in explaining]
    most = max([*covered, graph.most_of_one_aggregator(component)])
    return most <= MOST_EXPLAINED * len(component)


def _domains_of_turns(graph: Graph, component: set[int], ties: Ties) -> set[int]:
    """Mail domains that do not explain, as most of the component sends in turn (see `egress`)."""
    domains = {number for number in ties if is_domain(graph, number)}
    in_turn = [len(who) for n, who in ties.items() if graph.values[n].block is Block.TIMING]
    if not domains or max(in_turn, default=0) <= MOST_EXPLAINED * len(component):
        return set()
    return domains if has_ways_of_its_own(graph, component) else set()


def _crosswise_score(graph: Graph, holders: list[int], ties: Ties) -> float:
    """In nats; 0 where there is too little."""
    draws = sum(_draws(graph, number, who) for number, who in ties.items())
    if draws < LEAST_COINCIDENCES / 2:
        return 0.0
    members = {number for who in ties.values() for number in who}
    share = len(members) / max(1, _sharers(graph, holders))
    if share < max(LEAST_SHARE, NULL_SHARE):
        return 0.0
    return draws * _divergence(min(1.0, share), NULL_SHARE)


def _draws(graph: Graph, number: int, who: list[int]) -> float:
    """A shared fact is one observation of at least two accounts, a ring one of each pair in it."""
    return len(who) / 2 if graph.values[number].block in RINGS else 0.5


def own_of(graph: Graph, members: set[int]) -> set[int]:
    """Values outside of what ties that are the group's own: `LEAST_OWN_HOLDERS` of it show them,
    and nine of ten who show them are in it."""
    counts: Counter[int] = Counter()
    for number in islice(sorted(members, reverse=True), MOST_SCORED):
        counts.update(graph.accounts[number].values.keys())
    return {
        number
        for number, count in counts.items()
        if count >= LEAST_OWN_HOLDERS
        and graph.values[number].block not in TYING
        and count >= LEAST_OWN * len(graph.values[number].holders)
    }


def kin_of(graph: Graph, seed: int, members: set[int]) -> set[int]:
    """The seed, and rare values of the origin block that go with it; {} where there are none.

    Whoever shows both agrees with the tied in two blocks without being tied to them. Such a value
    is shown by hardly anybody but holders of the seed, and `LEAST_TIED` of those are tied: where a
    pool copied a template together with the client that goes with it, honest users outnumber the
    tied, and nobody is joined.
    """
    value = graph.values[seed]
    if value.block is not Block.CONTENT:
        return set()
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for holder in islice(reversed(value.holders), MOST_SCORED):
        is_tied = holder in members
        for number in graph.accounts[holder].values:
            if graph.values[number].block is Block.ORIGIN:
                count = counts[number]
                count[0] += 1
                count[1] += is_tied
    found = {
        number
        for number, (shown, tied) in counts.items()
        if shown >= LEAST_OWN_HOLDERS
        and tied >= LEAST_TIED * shown
        and shown >= LEAST_OWN * len(graph.values[number].holders)
    }
    return found | {seed} if found else set()


def _agreements(graph: Graph, ties: Ties) -> list[Agreement]:
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
    return _by_width(found)


def _by_width(agreements: Iterable[Agreement]) -> list[Agreement]:
    return sorted(agreements, key=lambda one: (-one.covered, one.family))


def _divergence(p: float, q: float) -> float:
    """Kullback–Leibler divergence of two coins, in nats; q lies inside 0..1."""
    found = p * log(p / q) if p > 0 else 0.0
    return found + ((1 - p) * log((1 - p) / (1 - q)) if p < 1 else 0.0)
