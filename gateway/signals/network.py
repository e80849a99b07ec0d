"""Where the request comes from, as far as the configured chain of proxies vouches for it."""

from __future__ import annotations

from ..model import RequestFacts, Subject
from ..registry import signal

MAX_ASN = 2**32 - 1


@signal("client_network", type=str)
def client_network(facts: RequestFacts, subject: Subject) -> str | None:
    """Keyed hash of the IPv4 address or the IPv6 /64: fit to group by, not to read; None when
    the surface cannot see an address."""
    return facts.client_network


@signal("country", type=str)
def country(facts: RequestFacts, subject: Subject) -> str | None:
    """Country of the client address, ISO 3166-1 alpha-2 in capitals; None when not known."""
    return facts.country


@signal("asn", type=int, low=0, high=MAX_ASN)
def asn(facts: RequestFacts, subject: Subject) -> int | None:
    """Autonomous system of the client address; None when not known."""
    return facts.asn


@signal("network_class", type=str)
def network_class(facts: RequestFacts, subject: Subject) -> str | None:
    """Class of the client network, such as hosting, vpn or tor; None when not known."""
    return facts.network_class
