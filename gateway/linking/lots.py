"""Loose lots: shared facts that nothing else bears out.

An honest group that shares a card or a signup address shares more: colleagues have a domain, a
family has a home, a class has an hour, and they call from one network. A pool's cards
and addresses were bought in lots that have nothing to do with each other, for accounts that seem to
live apart. So a coincidence is *loose* when neither another fact, nor one network, nor an
application of their own has most of its accounts.

Each family has a share of honest accounts that share so (two people with one card who live apart,
a carrier's address). The score of a family is that of a Poisson variable: n lots
where m were to be expected, n · ln(n/m) - n + m. Honest causes work in one family at a time: a
carrier's addresses make loose addresses and no loose cards. So the highest score counts no more
than all others together, and one family alone scores 0, but for cards that are *deep*: `DEEP`
accounts or more of one card that share nothing else, and most of those who pay at all are on such
cards. Two or four who live apart share a card; card upon card that five strangers share, with one
template between them all, is what pools buy. A mail domain bears others out and is no lot itself:
staff with cards of their own share it by nature. Nor is an hour: a contest in many halls ties
strangers by the hour and, hall by hall, by address, so addresses count only where the accounts
were opened at different times.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log

from ..model import SECOND_US
from .evidence import Block
from .graph import Graph, Value
from .joined import Joined

LEAST_LOTS = 2  # of each of two families
LEAST_BORNE_OUT = 0.67  # of a lot, by another fact; rounded down to two accounts
SAME_EVENT_US = 6 * 3600 * SECOND_US
LEAST_AT_ONE_PLACE = 0.5  # of a lot, by a network
MOST_PLACE = 3.0  # a place with more times the lot's accounts is nobody's home
MOST_OWN = 1.5  # of a template that more times the lot's accounts show, none is the owner
HONEST = {"payment": 0.03, "signup_network": 0.01}
"""Loose lots for each account that shows a value of the family, in a population without
campaigns: an upper bound (docs/adr/0015)."""
SKETCH = "system_sketch"
PROMPTS = frozenset({"system_prompt", SKETCH})
LEAST_PROMPT_HOLDERS = 8
CARD = "payment"
DEEP = 5  # accounts of one loose card
HONEST_DEEP = 0.001  # such cards for each account that pays; none was seen
LEAST_DEEP_SHARE = 0.5  # of the holders of a seed who pay, how many do so by deep cards


@dataclass(frozen=True, slots=True)
class Lots:
    """`score` in nats, 0 where nothing tells; `ties` the lots."""

    score: float
    ties: dict[int, list[int]]


NO_LOTS = Lots(0.0, {})


def loose_lots(graph: Graph, seed: int, ties: Mapping[int, list[int]], holders: list[int]) -> Lots:
    """`ties` are the coincidences of a seed with these holders. A sketch is a phrase of a prompt,
    so those who show one are judged by the prompts that it stands in, each for itself; what tells
    nothing as a whole is left to the seeds of those prompts."""
    whole = _lots_of(graph, ties, holders)
    if not whole.score or graph.name_of(graph.values[seed]) != SKETCH:
        return whole
    found = [
        _lots_of(graph, _within(ties, part), list(part))
        for part in _by_prompt(graph, seed, holders)
    ]
    return max(found, key=lambda one: one.score, default=NO_LOTS)


def _by_prompt(graph: Graph, seed: int, holders: list[int]) -> list[set[int]]:
    """The holders of a sketch by what else their prompts have in common. Prompts that hardly
    anybody shows, as each account of a pool may have its own, stay together."""
    prompts = {n for n, name in enumerate(graph.families) if name in PROMPTS}
    joined = Joined()
    for holder in holders:
        for number in graph.accounts[holder].values:
            if number != seed and graph.values[number].family in prompts:
                joined.join(-1 - number, holder)
    parts: dict[int, set[int]] = defaultdict(set)
    for holder in holders:
        parts[joined.root(holder)].add(holder)
    large = [part for part in parts.values() if len(part) >= LEAST_PROMPT_HOLDERS]
    rest = {holder for holder in holders if len(parts[joined.root(holder)]) < LEAST_PROMPT_HOLDERS}
    return [*large, rest]


def _within(ties: Mapping[int, list[int]], part: set[int]) -> dict[int, list[int]]:
    found = {number: [one for one in who if one in part] for number, who in ties.items()}
    return {number: who for number, who in found.items() if len(who) > 1}


def _lots_of(graph: Graph, ties: Mapping[int, list[int]], holders: list[int]) -> Lots:
    lots: dict[str, list[int]] = defaultdict(list)
    for number, who in ties.items():
        family = graph.families[graph.values[number].family]
        if family in HONEST and not _is_borne_out(graph, number, who):
            lots[family].append(number)
    telling = {family: found for family, found in sorted(lots.items()) if len(found) >= LEAST_LOTS}
    deep = {number: ties[number] for number in lots.get(CARD, ()) if len(ties[number]) >= DEEP}
    if len(telling) < 2 and not deep:
        return NO_LOTS  # before every holder is looked at: nearly always
    shown = _showing(graph, holders)
    crossing = _of_several_families(telling, shown, ties)
    return max(crossing, _of_deep_cards(deep, shown[CARD]), key=lambda found: found.score)


def _of_several_families(
    telling: Mapping[str, list[int]], shown: Mapping[str, int], ties: Mapping[int, list[int]]
) -> Lots:
    if len(telling) < 2:
        return NO_LOTS
    scores = [surprise(len(n), HONEST[family] * shown[family]) for family, n in telling.items()]
    score = sum(scores) - max(0.0, 2 * max(scores) - sum(scores))
    if score <= 0:
        return NO_LOTS  # what tells nothing ties nobody
    return Lots(score, {number: ties[number] for found in telling.values() for number in found})


def _of_deep_cards(deep: dict[int, list[int]], paying: int) -> Lots:
    held = {holder for who in deep.values() for holder in who}
    if len(held) < LEAST_DEEP_SHARE * paying:
        return NO_LOTS
    return Lots(surprise(len(deep), HONEST_DEEP * paying), deep)


def surprise(count: int, expected: float) -> float:
    """Chernoff's bound on a Poisson variable's upper tail, in nats; 0 up to what is expected."""
    if count <= expected:
        return 0.0
    return count * log(count / expected) - count + expected


def _is_borne_out(graph: Graph, number: int, who: list[int]) -> bool:
    """Whether another fact, one place, or an application of their own has most of the lot's
    accounts; or facts that are shared inside of the lot alone have, together."""
    counts: Counter[int] = Counter()
    for holder in who:
        counts.update(list(graph.accounts[holder].values))
    lot = graph.values[number]
    if graph.name_of(lot) == "signup_network" and _is_one_event(graph, who):
        return True
    inner: set[int] = set()
    for other, count in counts.items():
        value = graph.values[other]
        if count < 2 or value.family == lot.family:
            continue
        if _bears_out(graph, value, count / len(who), len(lot.holders)):
            return True
        if value.block is Block.FACTS and count >= LEAST_BORNE_OUT * len(value.holders):
            inner.update(value.holders)
    return len(inner.intersection(who)) >= LEAST_BORNE_OUT * len(who)


def _is_one_event(graph: Graph, who: list[int]) -> bool:
    """Whether most of them were opened within some hours: a class, a contest, a course. Such a hall
    has strangers in it who pay, if at all, with cards of their own."""
    created = [graph.accounts[one].created_us for one in who]
    known = sorted(at for at in created if at is not None)
    least = max(2, ceil(LEAST_BORNE_OUT * len(who)))
    return any(
        last - first <= SAME_EVENT_US
        for first, last in zip(known, known[least - 1 :], strict=False)
    )


def _bears_out(graph: Graph, value: Value, share: float, size: int) -> bool:
    """Whether a value that `share` of a lot show speaks for one honest group; the lot has `size`
    accounts, those included that are never linked or do not show the seed."""
    if value.block is Block.FACTS:
        return share >= LEAST_BORNE_OUT
    if value.block is Block.CONTENT:
        return share >= LEAST_BORNE_OUT and len(value.holders) <= MOST_OWN * size
    if graph.families[value.family] == "network":
        return share >= LEAST_AT_ONE_PLACE and len(value.holders) <= MOST_PLACE * size
    return False


def _showing(graph: Graph, holders: list[int]) -> dict[str, int]:
    """How many holders show a value of each family."""
    found = dict.fromkeys(HONEST, 0)
    for holder in holders:
        for family in {graph.values[number].family for number in graph.accounts[holder].values}:
            name = graph.families[family]
            if name in found:
                found[name] += 1
    return found
