"""Whatever a client sends, it never chooses its own address."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.client import (
    MAX_CHAIN_BYTES,
    MAX_HOPS,
    TrustedEdge,
    client_address,
    networks,
    vouches_for,
)

XFF = b"x-forwarded-for"
FORWARDED = b"forwarded"
EDGE = TrustedEdge(networks(["10.0.0.0/8", "fd00::/8"]))
FORWARDED_EDGE = TrustedEdge(networks(["10.0.0.0/8", "fd00::/8"]), FORWARDED)
PROXY = ("10.0.0.1", 5000)


def seen(chain: str | list[str], edge: TrustedEdge = EDGE, peer: str = "10.0.0.1") -> str | None:
    lines = [chain] if isinstance(chain, str) else chain
    headers = [(edge.address_header, line.encode("latin-1")) for line in lines]
    address = client_address((peer, 1), headers, edge)
    return None if address is None else str(address)


CHAINS = [
    pytest.param("203.0.113.7", "203.0.113.7", id="one-proxy"),
    pytest.param("203.0.113.7, 10.0.0.9", "203.0.113.7", id="two-proxies"),
    pytest.param("1.1.1.1, 203.0.113.7", "203.0.113.7", id="spoofed-left-end"),
    pytest.param("10.0.0.5, 203.0.113.7", "203.0.113.7", id="spoofed-trusted-address"),
    pytest.param(["1.1.1.1", "203.0.113.7"], "203.0.113.7", id="two-lines"),
    pytest.param("203.0.113.7:443", "203.0.113.7", id="port"),
    pytest.param("[2001:db8::1]:443", "2001:db8::1", id="ipv6-and-port"),
    pytest.param("[2001:db8::1]", "2001:db8::1", id="ipv6-in-brackets"),
    pytest.param("2001:db8::1", "2001:db8::1", id="ipv6"),
    pytest.param("::ffff:203.0.113.7", "203.0.113.7", id="mapped"),
    pytest.param("[::ffff:203.0.113.7]:80,\t::ffff:10.0.0.2", "203.0.113.7", id="mapped-proxy"),
    pytest.param("203.0.113.7,fd00::1", "203.0.113.7", id="ipv6-proxy"),
    pytest.param("10.0.0.9, 10.0.0.8", "10.0.0.9", id="all-trusted"),
    pytest.param("", "10.0.0.1", id="no-chain"),
    pytest.param("unknown", None, id="unknown"),
    pytest.param("203.0.113.7, unknown", None, id="unknown-behind-the-proxy"),
    pytest.param("203.0.113.7,", None, id="empty-right-end"),
    pytest.param("203.0.113.007", None, id="leading-zeros"),
    pytest.param("203.0.113", None, id="three-numbers"),
    pytest.param("fe80::1%eth0", None, id="zone"),
    pytest.param("[203.0.113.7", None, id="half-a-bracket"),
    pytest.param("203.0.113.7:http", None, id="port-by-name"),
    pytest.param("203.0.113.7 10.0.0.2", None, id="no-comma"),
    pytest.param("x" * 10_000, None, id="long-garbage"),
]
FORWARDED_CHAINS = [
    pytest.param("for=203.0.113.7", "203.0.113.7", id="plain"),
    pytest.param("For=203.0.113.7;proto=https;by=10.0.0.1", "203.0.113.7", id="other-pairs"),
    pytest.param('for="[2001:db8::1]:4711"', "2001:db8::1", id="quoted-ipv6"),
    pytest.param("for=203.0.113.7, for=10.0.0.2", "203.0.113.7", id="two-proxies"),
    pytest.param("for=1.1.1.1, for=203.0.113.7;by=x", "203.0.113.7", id="spoofed"),
    pytest.param('for="1.1.1.1, for=203.0.113.7', "203.0.113.7", id="open-quote-to-the-left"),
    pytest.param('for=1.1.1.1;x="\\", for=203.0.113.7', "203.0.113.7", id="open-escape"),
    pytest.param('x=", for="[2001:db8::1]";by="[fd00::2]"', "2001:db8::1", id="quotes-flipped"),
    pytest.param('for=203.0.113.7;x="a, b"', "203.0.113.7", id="comma-in-quotes"),
    pytest.param("for=_hidden", None, id="obfuscated"),
    pytest.param("for=unknown", None, id="unknown"),
    pytest.param("for=1.1.1.1;for=203.0.113.7", None, id="for-twice"),
    pytest.param("by=203.0.113.7", None, id="no-for"),
    pytest.param("203.0.113.7", None, id="no-pairs"),
    pytest.param("for=203.0.113.7;", None, id="open-end"),
    pytest.param("," * 4000, None, id="commas"),
    pytest.param('for="' * 800, None, id="quotes"),
]


@pytest.mark.parametrize(("chain", "address"), CHAINS)
def test_x_forwarded_for_is_read_from_the_right(
    chain: str | list[str], address: str | None
) -> None:
    assert seen(chain) == address


@pytest.mark.parametrize(("chain", "address"), FORWARDED_CHAINS)
def test_forwarded_is_read_from_the_right(chain: str, address: str | None) -> None:
    assert seen(chain, FORWARDED_EDGE) == address


@pytest.mark.parametrize("edge", [EDGE, FORWARDED_EDGE, TrustedEdge()])
def test_an_untrusted_peer_is_the_client_whatever_it_says(edge: TrustedEdge) -> None:
    assert seen("for=1.1.1.1, 1.1.1.1", edge, peer="203.0.113.9") == "203.0.113.9"


def test_only_the_configured_header_is_read() -> None:
    headers = [(FORWARDED, b"for=1.1.1.1"), (XFF, b"203.0.113.7"), (b"x-real-ip", b"1.1.1.1")]
    assert client_address(PROXY, headers, EDGE) == IPv4Address("203.0.113.7")
    headers = [(FORWARDED, b"for=203.0.113.7"), (XFF, b"1.1.1.1")]
    assert client_address(PROXY, headers, FORWARDED_EDGE) == IPv4Address("203.0.113.7")


def test_a_peer_without_an_address_vouches_for_nothing() -> None:
    assert client_address(None, [(XFF, b"1.1.1.1")], EDGE) is None
    assert client_address(("/run/x.sock", None), [(XFF, b"1.1.1.1")], EDGE) is None
    assert not vouches_for(EDGE.proxies, None)


def test_a_chain_longer_than_its_bound_is_unknown_and_never_guessed() -> None:
    assert seen(", ".join(["203.0.113.7"] + ["10.0.0.2"] * (MAX_HOPS - 1))) == "203.0.113.7"
    assert seen(", ".join(["203.0.113.7"] + ["10.0.0.2"] * MAX_HOPS)) is None
    # Cut within an address, what is left of it would be another one.
    for padding in range(20):
        forwarded = "for=10.0.0.2;x=" + "y" * ((MAX_CHAIN_BYTES - padding) // 2)
        assert seen(f"for=11.22.33.44,{forwarded},{forwarded}", FORWARDED_EDGE) in (
            None,
            "11.22.33.44",
        )


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(
    lambda address: ip_address(str(getattr(address, "ipv4_mapped", None) or address))
)
CLIENTS = ADDRESSES.filter(lambda address: not any(address in network for network in EDGE.proxies))
PROXIES = st.sampled_from(["10.1.2.3", "10.255.0.1", "fd00::7"])
SPOOFS = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    st.lists(ADDRESSES.map(str) | PROXIES, max_size=5).map(", ".join),
    st.lists(st.sampled_from(['for="', "for=10.0.0.2", '"', "\\", ",", ";", "x=", "[::1]"])).map(
        "".join
    ),
)


@settings(max_examples=600, deadline=None)
@given(SPOOFS, CLIENTS, st.lists(PROXIES, min_size=1, max_size=4))
def test_a_spoofed_x_forwarded_for_never_wins(spoof: str, client: object, path: list[str]) -> None:
    """Each proxy appends its peer; our own peer is the last of them."""
    chain = ", ".join([spoof, str(client), *path[:-1]])
    assert seen(chain, peer=path[-1]) == str(client)


def forwarded_node(address: str) -> str:
    return f'for="[{address}]:1234"' if ":" in address else f"for={address}"


@settings(max_examples=600, deadline=None)
@given(
    SPOOFS,
    CLIENTS,
    st.lists(PROXIES, min_size=1, max_size=4),
    st.sampled_from(["", ";proto=https", ';by="[fd00::2]"', ';host="a.example:443";proto=http']),
)
def test_a_spoofed_forwarded_never_wins(
    spoof: str, client: object, path: list[str], more: str
) -> None:
    written = [forwarded_node(address) + more for address in [str(client), *path[:-1]]]
    assert seen(", ".join([spoof, *written]), FORWARDED_EDGE, peer=path[-1]) == str(client)
