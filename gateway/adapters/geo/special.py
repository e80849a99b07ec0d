"""Which addresses are global: only those are looked up at all.

Source: the IANA special-purpose address registries, as Python's `ipaddress` knows them, and RFC
4291, 3056, 4380, 6052 for addresses that carry another one inside (6to4, Teredo, NAT64): whose
those are cannot be told from the outside, so they count as not known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses

_NOT_GLOBAL_FOUR = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
    *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
)
_GLOBAL_SIX = IPv6Network("2000::/3")
_NOT_GLOBAL_SIX = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")


def _edges(networks: Iterable[IPv4Network | IPv6Network]) -> list[int]:
    """First, last + 1, first, last + 1 …: a number is inside when an odd count is at or below."""
    edges = []
    for network in networks:
        edges += [int(network[0]), int(network[-1]) + 1]
    return edges


_FOUR = _edges(collapse_addresses(map(IPv4Network, _NOT_GLOBAL_FOUR)))
_SIX = _edges(collapse_addresses(map(IPv6Network, _NOT_GLOBAL_SIX)))
_SIX_FIRST, _SIX_LAST = int(_GLOBAL_SIX[0]), int(_GLOBAL_SIX[-1])


def is_global(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is somebody's on the public internet. An IPv4-mapped one is not: callers
    map it to IPv4 first."""
    number = int(address)
    if address.version == 4:
        return bisect_right(_FOUR, number) & 1 == 0
    return _SIX_FIRST <= number <= _SIX_LAST and bisect_right(_SIX, number) & 1 == 0
