"""What is remembered of where requests come from is what would be worked out anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.client import Headers, TrustedEdge, client_address, networks
from gateway.adapters.facts import origin_of
from gateway.adapters.header_plan import request_plan
from gateway.adapters.origins import MAX_KEPT_CHAIN_BYTES, Origins
from gateway.core.keyed import KeyedHash
from gateway.model import Place

KEYED = KeyedHash(b"a secret for tests of origins")
EDGES = (
    TrustedEdge(),
    TrustedEdge(proxies=networks(["127.0.0.0/8", "2001:db8::/32"])),
    TrustedEdge(proxies=networks(["127.0.0.0/8"]), address_header=b"forwarded"),
)
hosts = st.sampled_from(["127.0.0.1", "127.0.0.2", "192.0.2.9", "2001:db8::1", "a socket"])
hops = st.sampled_from(
    [
        *("192.0.2.1", "198.51.100.7:443", "127.0.0.9", "::ffff:192.0.2.1", "[2001:db8::7]:1"),
        *("unknown", "", "for=192.0.2.1", 'for="[2001:db8::7]"', "x" * 200),
    ]
)
chains = st.lists(st.lists(hops, max_size=3).map(", ".join), max_size=3)
names = st.sampled_from([b"x-forwarded-for", b"forwarded", b"x-other"])


@dataclass
class CountingGeo:
    """Says how often it was asked; a new edition says another country."""

    edition: int = 0
    asked: list[IPv4Address | IPv6Address] = field(default_factory=list)

    def place_of(self, address: IPv4Address | IPv6Address) -> Place:
        self.asked.append(address)
        return Place("DE" if self.edition == 0 else "FR", 64_500, "eyeball")


def head(*values: str, name: bytes = b"x-forwarded-for") -> Headers:
    return [(b"host", b"h"), *[(name, value.encode()) for value in values], (b"accept", b"*/*")]


@given(st.sampled_from(EDGES), st.lists(st.tuples(hosts, chains, names), min_size=1, max_size=6))
def test_an_origin_is_what_the_chain_vouches_for(
    edge: TrustedEdge, requests: list[tuple[str, list[str], bytes]]
) -> None:
    origins, geo = Origins(edge, KEYED, CountingGeo()), CountingGeo()
    for host, chain, name in requests * 2:
        headers, client = head(*chain, name=name), (host, 443)
        expected = origin_of(client_address(client, headers, edge), KEYED, geo)
        assert origins.of(client, headers, request_plan(headers)) == expected


def test_an_address_is_looked_up_once_until_the_data_are_exchanged() -> None:
    geo = CountingGeo()
    origins = Origins(EDGES[1], KEYED, geo)
    headers = head("192.0.2.1")
    plan = request_plan(headers)
    found = [origins.of(("127.0.0.1", port), headers, plan) for port in range(3)]
    assert {origin.country for origin in found} == {"DE"}
    assert len(geo.asked) == 1
    geo.edition = 1
    assert origins.of(("127.0.0.1", 1), headers, plan).country == "FR"


@pytest.mark.parametrize(("padding", "kept"), [(0, 1), (MAX_KEPT_CHAIN_BYTES, 0)])
def test_a_long_chain_takes_no_memory(padding: int, kept: int) -> None:
    origins = Origins(EDGES[1], KEYED, None)
    headers = head("x" * padding, "192.0.2.1")
    for _ in range(2):
        origins.of(("127.0.0.1", 1), headers, request_plan(headers))
    assert origins.kept == kept


def test_a_peer_without_an_address_has_no_origin() -> None:
    origin = Origins(TrustedEdge(), KEYED, None).of(None, [], request_plan([]))
    assert origin.client_network is None
