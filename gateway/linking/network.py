"""Where requests come from: the client's network, as a keyed hash.

Innocent causes: carrier NAT, offices, universities, VPN exits, cloud egress. Shared by many, a
network is a hub and says nothing; rarity decides.
"""

from __future__ import annotations

from .evidence import Block, Sight, family


@family("network", Block.ORIGIN)
def network(sight: Sight) -> tuple[str, ...]:
    """Accounts that call from one address (IPv6: one /64)."""
    network = sight.facts.client_network
    return () if network is None else (network,)
