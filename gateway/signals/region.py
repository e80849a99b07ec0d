"""Where an account may be, by several facts that can disagree. Never language or nationality.

Each fact is weak alone: people travel, work through VPNs, run their code in clouds, and address
data are wrong for one address in twenty. Policies weigh: agreement of independent facts is
certainty, disagreement is a question to ask.
"""

from __future__ import annotations

from ..core.behaviour import Behaviour
from ..core.countries import least_km
from ..model import RequestFacts, Subject
from ..registry import signal
from .behaviour import windowed

SAYS_NOTHING = frozenset({"hosting", "vpn", "tor"})


@signal("signup_country", type=str)
def signup_country(facts: RequestFacts, subject: Subject) -> str | None:
    """Country of the address that the account was signed up from, as it was when imported, ISO
    3166-1 alpha-2 in capitals; None when not recorded or not known."""
    return subject.signup_country


@signal("home_country", type=str)
def home_country(facts: RequestFacts, subject: Subject) -> str | None:
    """Country of the client network where that says where somebody is: None for hosting, VPN and
    Tor exits, and where it is not known."""
    return None if facts.network_class in SAYS_NOTHING else facts.country


@signal("account_countries", type=tuple)
def account_countries(facts: RequestFacts, subject: Subject) -> tuple[str, ...] | None:
    """The countries that the account's records name (payment, phone, signup), each once; None when
    they name none."""
    return _named(subject) or None


@signal("country_conflict", type=bool)
def country_conflict(facts: RequestFacts, subject: Subject) -> bool | None:
    """Whether payment, phone, signup and home network name more than one country; None when fewer
    than two of them are known."""
    home = home_country(facts, subject)
    first, answer = None, None
    for country in (subject.billing_country, subject.phone_country, subject.signup_country, home):
        if country is None or first is None:
            first = first or country
        elif country == first:
            answer = False
        else:
            return True
    return answer


@signal("ownership", type=str)
def ownership(facts: RequestFacts, subject: Subject) -> str | None:
    """What the customer has declared of its owners: unsupported-majority (more than half in regions
    that are not supported) or attested (it is not); None when it has declared nothing."""
    return subject.ownership


@windowed("travel_kmh", type=float)
def travel_kmh(seen: Behaviour, facts: RequestFacts) -> float | None:
    """Kilometres an hour that somebody must have travelled, at the least, from the country of the
    account's last served request to that of this one: the gap between the two countries over the
    time; 0 in the same country and its neighbours, None when either is not known. An airliner
    makes 1000."""
    here, last, since_s = facts.country, seen.last_country, seen.last_country_s()
    if here is None or last is None or since_s is None:
        return None
    apart_km = least_km(last, here)
    return None if apart_km is None else apart_km * 3600 / max(1, since_s)


def _named(subject: Subject) -> tuple[str, ...]:
    named = (subject.billing_country, subject.phone_country, subject.signup_country)
    return tuple(sorted({country for country in named if country is not None}))
