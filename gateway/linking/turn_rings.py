"""Rings of accounts that take turns, looked for among the holders of one value at a time.

Every `LOOK_US` the values are looked at whose holders have sent enough since they were last looked
at. Whoever takes turns (`turns`) becomes a ring; a ring that shares a member with an older one is
the older. Bounded: a look takes the latest `MAX_LOOKED` holders of a value, the same set of holders
once, and whoever is in a ring asks for no look. A group that one fact explains, as an organisation
whose keys are used in turn, is no ring.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any

from ..model import SECOND_US
from .egress import has_ways_of_its_own, is_domain
from .evidence import Block, Key, joined_family
from .graph import Graph
from .instants import CLOSE_SLOT_US, Instants
from .turns import LEAST_GROUP, groups_of

FAMILY = "turns"
LOOK_US = 900 * SECOND_US
MAX_LOOKED = 1_024
SENT = 0.5  # of the holders, instants before a value's next look
LEAST_INSTANTS = 3
LEAST_TELLING = 0.25  # of the holders, how many must have sent so often that turns can be told
MOST_EXPLAINED = 0.67
MOST_UNEXPLAINED = (1 - MOST_EXPLAINED) * LEAST_GROUP  # of the smallest group
VAGUE = frozenset({"question_head", "network"})

joined_family(
    FAMILY,
    Block.TIMING,
    "Accounts that send in turn, always in one order, though they would not know of each other.",
)


class TurnRings:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.instants = Instants()
        self.close = Instants(CLOSE_SLOT_US)
        self.touched: set[str] = set()  # with an instant that was not known, since the last look
        self.ring_of: dict[str, str] = {}
        self.next_look_us = 0
        self._sent: Counter[int] = Counter()  # instants of holders, by value, since its last look

    def note(self, account_id: str, at_us: int) -> None:
        """It sent at this instant."""
        self.close.note(account_id, at_us)
        if self.instants.note(account_id, at_us):
            self.touched.add(account_id)

    def settle(self, graph: Graph, now_us: int) -> Iterator[tuple[str, Key]]:
        """(account, key) of all who joined a ring; nothing until the next look is due."""
        if now_us < self.next_look_us:
            return
        self.next_look_us = now_us + LOOK_US
        self._count_sent(graph)
        looked: set[frozenset[int]] = set()
        for number in self._due(graph):
            holders = frozenset(islice(reversed(graph.values[number].holders), MAX_LOOKED))
            if holders not in looked and not is_all_explained(graph, holders):
                looked.add(holders)
                for group in self._groups(graph, holders):
                    yield from self._join(group)
        self._forget(graph)

    def _count_sent(self, graph: Graph) -> None:
        touched, self.touched = self.touched, set()
        shown: Counter[int] = Counter()
        for name in touched:
            number = graph.find(name)
            if number is not None and name not in self.ring_of:
                shown.update(graph.accounts[number].values.keys())
        for number, sent in shown.items():
            if number in self._sent or _is_telling(graph, number):
                self._sent[number] += sent

    def _due(self, graph: Graph) -> list[int]:
        """In an order that does not follow from that of arrival."""
        due = [number for number in self._sent if self._is_due(graph, number)]
        for number in due:
            del self._sent[number]
        return sorted(due, key=lambda number: graph.values[number].text)

    def _is_due(self, graph: Graph, number: int) -> bool:
        if not _is_telling(graph, number):
            return False
        holders = min(MAX_LOOKED, len(graph.values[number].holders))
        return self._sent[number] >= SENT * holders

    def _groups(self, graph: Graph, holders: Collection[int]) -> Iterator[list[str]]:
        names = [graph.accounts[n].account_id for n in holders if n not in graph.exempt]
        sent = {name: self.instants.of(name) for name in names}
        telling = sum(1 for own in sent.values() if len(own) >= LEAST_INSTANTS)
        if telling < max(LEAST_GROUP, LEAST_TELLING * len(names)):
            return
        for group in (*groups_of(sent), *groups_of(self._sent_closely(names))):
            if not is_explained(graph, group):
                yield group

    def _sent_closely(self, names: Sequence[str]) -> dict[str, Sequence[int]]:
        """Of those whose usual requests the wide slots thin out and the close ones do not; {} of
        too few."""
        busy = [
            name
            for name in names
            if self.instants.is_thinned(name) and not self.close.is_thinned(name)
        ]
        return {name: self.close.of(name) for name in busy} if len(busy) >= LEAST_GROUP else {}

    def _join(self, group: list[str]) -> Iterator[tuple[str, Key]]:
        known = Counter(self.ring_of[name] for name in group if name in self.ring_of)
        ring = min(known, key=lambda one: (-known[one], one)) if known else group[0]
        digest = blake2b(ring.encode(), digest_size=8).hexdigest()
        for name in group:
            if self.ring_of.get(name) != ring:
                self.ring_of[name] = ring
                yield name, Key(FAMILY, digest)

    def _forget(self, graph: Graph) -> None:
        self.instants.make_room()
        self.close.make_room()
        for number in [n for n in self._sent if not _is_telling(graph, n)]:
            del self._sent[number]
        if len(self.ring_of) > len(graph.accounts):
            gone = [name for name in self.ring_of if graph.find(name) is None]
            for name in gone:
                del self.ring_of[name]

    def pack(self, keys: dict[int, tuple[str, str]]) -> dict[str, Any]:
        return {
            "instants": self.instants.pack(),
            "close": self.close.pack(),
            "touched": sorted(self.touched),
            "ring_of": self.ring_of,
            "next_look_us": self.next_look_us,
            "sent": sorted((keys[n], sent) for n, sent in self._sent.items() if n in keys),
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any], graph: Graph) -> TurnRings:
        rings = cls()
        rings.instants = Instants.unpack(packed["instants"])
        rings.close = Instants.unpack(packed.get("close", {}), CLOSE_SLOT_US)
        rings.touched = set(packed["touched"])
        rings.ring_of = packed["ring_of"]
        rings.next_look_us = packed["next_look_us"]
        for pair, sent in packed["sent"]:
            number = graph.value(Key(*pair))
            if number is not None:
                rings._sent[number] = sent
        return rings


def is_explained(graph: Graph, group: list[str]) -> bool:
    """Whether one fact (a payer, a signup address or hour; a domain, see `egress`) has most of the
    group."""
    numbers = [number for name in group if (number := graph.find(name)) is not None]
    shared = _shared_facts(graph, numbers)
    if any(is_domain(graph, one) for one in shared) and has_ways_of_its_own(graph, numbers):
        shared = _without_domains(graph, shared)
    return max(shared.values(), default=0) > MOST_EXPLAINED * len(group)


def is_all_explained(graph: Graph, holders: Collection[int]) -> bool:
    """Whether one fact has so many of them that every group among them would be explained: an
    organisation whose keys are used in turn shows turns for ever. Of a domain that depends on the
    group's networks, so none of them is passed over for it."""
    shared = _without_domains(graph, _shared_facts(graph, holders))
    return max(shared.values(), default=0) > len(holders) - MOST_UNEXPLAINED


def _shared_facts(graph: Graph, group: Collection[int]) -> Counter[int]:
    """How many of these accounts show each fact that ties any of them."""
    counts: Counter[int] = Counter()
    for number in group:
        counts.update(graph.ties.get(number, {}).keys())
    return Counter(
        {one: count for one, count in counts.items() if graph.values[one].block is Block.FACTS}
    )


def _without_domains(graph: Graph, shared: Counter[int]) -> Counter[int]:
    return Counter({one: count for one, count in shared.items() if not is_domain(graph, one)})


def _is_telling(graph: Graph, number: int) -> bool:
    value = graph.values.get(number)
    return (
        value is not None
        and value.block in (Block.CONTENT, Block.ORIGIN)
        and len(value.holders) >= LEAST_GROUP
        and graph.families[value.family] not in VAGUE
    )
