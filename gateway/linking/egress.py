"""What one mail domain says of accounts that send in turn.

A company that sends in turn through the keys of its people does so from its own servers: whoever
knows when all the others send is one program, and its calls go out by one network. Accounts of one
domain that send in turn from networks of their own have no such honest cause; a domain costs some
money a year and covers a whole pool. A payer, an address or an hour explain as before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from .graph import Graph

DOMAIN, NETWORK = "mail_domain", "network"
LEAST_TOGETHER = 0.67  # of those of whom a network is known, how many share one
LEAST_KNOWN = 0.5  # of the group; of fewer the networks are unknown, and unknown is innocent


def has_ways_of_its_own(graph: Graph, group: Collection[int]) -> bool:
    """Whether the networks of these accounts are known, and no single one has most of them."""
    networks: Counter[int] = Counter()
    known = 0
    for number in group:
        shown = [
            one
            for one in graph.accounts[number].values
            if graph.name_of(graph.values[one]) == NETWORK
        ]
        known += bool(shown)
        networks.update(shown)
    if known < LEAST_KNOWN * len(group):
        return False
    return max(networks.values(), default=0) < LEAST_TOGETHER * known


def is_domain(graph: Graph, number: int) -> bool:
    return graph.name_of(graph.values[number]) == DOMAIN
