"""The client's address, as far as a configured chain of proxies vouches for it.

Law: whatever a client sends, it never chooses its own address. The chain is read from its
right end, which our own peer wrote, and only as long as each writer is trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Headers = list[tuple[bytes, bytes]]
Client = Sequence[object]  # ASGI's (host, port)
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_HOPS = 32
MAX_CHAIN_BYTES = 4096  # only this much of its right end is read
MAX_HOP_CHARS = 64
MAX_QUOTED_COMMAS = 4  # in one Forwarded element

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = rb"(" + _TOKEN + rb')=(?:("(?:[^"\\]|\\.)*")|(' + _TOKEN + rb"))"
_PAIRS = re.compile(_PAIR)
_ELEMENT = re.compile(_PAIR + rb"(?:[ \t]*;[ \t]*" + _PAIR + rb")*")
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class TrustedEdge:
    """Who stands in front of us. `proxies` append the address of their peer to
    `address_header` (X-Forwarded-For, Forwarded, or one of this kind that they own);
    `identity_networks` may name the account in `identity_header`."""

    proxies: tuple[Network, ...] = ()
    address_header: bytes = b"x-forwarded-for"
    identity_header: bytes | None = None
    identity_networks: tuple[Network, ...] = ()


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises ValueError for what is no network."""
    return tuple([ip_network(text) for text in texts])


def client_address(client: Client | None, headers: Headers, edge: TrustedEdge) -> Address | None:
    """The address of whoever opened the first untrusted connection.

    None where nobody vouches for it: a peer without an address (a Unix socket), a chain that a
    trusted proxy left unreadable ("unknown", garbage), or one of more than `MAX_HOPS`. A
    trusted peer that sends no chain, or one of trusted addresses only, is the client itself.
    """
    peer = None if client is None else _parse(str(client[0]))
    if peer is None or not edge.proxies or not _is_in(edge.proxies, peer):
        return peer
    address: Address | None = peer
    for hop in _hops(headers, edge.address_header):
        address = None if hop is None or len(hop) > MAX_HOP_CHARS else _parse(hop)
        if address is None or not _is_in(edge.proxies, address):
            break
    return address


def vouches_for(trusted: Sequence[Network], client: Client | None) -> bool:
    peer = None if client is None else _parse(str(client[0]))
    return peer is not None and _is_in(trusted, peer)


def values_of(headers: Headers, name: bytes) -> list[bytes]:
    return [value for found, value in headers if found == name]


def _is_in(trusted: Sequence[Network], address: Address) -> bool:
    return any(address in network for network in trusted)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    """An address with or without port and brackets; an IPv4-mapped one as IPv4."""
    ported = _WITH_PORT.fullmatch(text)
    if ported is not None:
        text = ported[1] or ported[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return None if address.scope_id is not None else address.ipv4_mapped or address
    return address


def _hops(headers: Headers, name: bytes) -> Iterator[str | None]:
    """The chain from its right end; None where it cannot be read any further."""
    chain = b",".join(values_of(headers, name))
    if not chain:
        return
    if len(chain) > MAX_CHAIN_BYTES:
        chain = b"?" + chain[-MAX_CHAIN_BYTES:]  # what is cut in two must not be readable
    split = _split_forwarded if name == b"forwarded" else _split_list
    for count, hop in enumerate(split(chain)):
        yield hop if count < MAX_HOPS else None


def _split_list(chain: bytes) -> Iterator[str]:
    for hop in reversed(chain.rsplit(b",", MAX_HOPS)):
        yield hop.strip(b" \t").decode("latin-1")


def _split_forwarded(chain: bytes) -> Iterator[str | None]:
    """RFC 7239 elements. Each is the shortest readable end of what is left, so that quotes
    opened further left, by an untrusted writer, cannot swallow what stands to their right."""
    end = len(chain)
    while end >= 0:
        start = end
        for _ in range(1 + MAX_QUOTED_COMMAS):
            start = chain.rfind(b",", 0, max(0, start))
            element = _ELEMENT.fullmatch(chain[start + 1 : end].strip(b" \t"))
            if element is not None or start < 0:
                break
        yield None if element is None else _for_of(element[0])
        end = start


def _for_of(element: bytes) -> str | None:
    nodes = [
        quoted[1:-1] or token
        for name, quoted, token in _PAIRS.findall(element)
        if name.lower() == b"for"
    ]
    return nodes[0].decode("latin-1") if len(nodes) == 1 else None
