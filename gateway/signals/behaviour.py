"""What the account did of late: volume, rhythm, variety, change. As its window in the store says.

Counted are inference requests, when they are settled: a request that is decided sees what was
settled before it and heard of by this process. All are None while nothing is kept: on the first
request, and after eight idle days. Windows are kept once a policy names one of these signals, or
the setting `windows` asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import inf
from typing import cast

from ..core import window as at
from ..core.behaviour import Behaviour, read_window
from ..model import SECOND_US, RequestFacts, SignalFunction, Subject
from ..registry import signal

HOUR, DAY, WEEK = range(3)


WindowSignal = Callable[[Behaviour, RequestFacts], object]


def windowed(
    name: str, *, type: type, needs: str = "window", low: float = 0, high: float = inf
) -> Callable[[WindowSignal], SignalFunction]:
    """As `signal`, for a function of the account's window as it is at the request; None where
    nothing is kept. Those that one policy names are all read off one window (`core/assess.py`).
    """

    def register(of: WindowSignal) -> SignalFunction:
        @wraps(of)
        def read(facts: RequestFacts, subject: Subject) -> object:
            seen = read_window(facts.window, facts.received_us // SECOND_US)
            return None if seen is None else of(seen, facts)

        spec = signal(name, type=type, needs=needs, of_window=of, low=low, high=high)
        return spec(cast(SignalFunction, read))

    return register


# ── volume ───────────────────────────────────────────────────────────────────────────────────


@windowed("requests_1h", type=int)
def requests_1h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Served requests of the account in the last hour, estimated from this hour and the last."""
    return seen.requests(HOUR)


@windowed("requests_24h", type=int)
def requests_24h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Served requests of the account in this hour and the 23 before it; above 254 in one of them
    estimated from today and yesterday."""
    return seen.requests(DAY)


@windowed("requests_7d", type=int)
def requests_7d(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Served requests of the account in the last 7 days, estimated from this week and the last."""
    return seen.requests(WEEK)


@windowed("tokens_1h", type=int)
def tokens_1h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Input and output tokens the account used in the last hour, as settled and estimated."""
    return seen.input_tokens(HOUR) + seen.output_tokens(HOUR)


@windowed("tokens_24h", type=int)
def tokens_24h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Input and output tokens the account used in 24 hours, estimated from today and yesterday."""
    return seen.input_tokens(DAY) + seen.output_tokens(DAY)


@windowed("tokens_7d", type=int)
def tokens_7d(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Input and output tokens the account used in 7 days, estimated from this week and the last."""
    return seen.input_tokens(WEEK) + seen.output_tokens(WEEK)


@windowed("output_tokens_24h", type=int)
def output_tokens_24h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Output tokens alone, over 24 hours; what a model's answers are collected by."""
    return seen.output_tokens(DAY)


# ── rhythm ───────────────────────────────────────────────────────────────────────────────────


@windowed("active_hours_24h", type=int, high=24)
def active_hours_24h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Of the last 24 hours how many had a served request, 0 to 24."""
    return seen.active_hours


@windowed("usual_gap_s", type=int, low=1, high=16_384)
def usual_gap_s(seen: Behaviour, facts: RequestFacts) -> int | None:
    """The median pause between requests is below this: 1, 4, 16 … 16384 seconds; None before the
    second request."""
    return seen.usual_gap_s()


# ── variety ──────────────────────────────────────────────────────────────────────────────────


@windowed("distinct_networks_24h", type=int, high=111)
def distinct_networks_24h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Client networks the account came from in the last 12 to 24 hours; an estimate, within a
    tenth or so up to 30, and 111 for all beyond."""
    return seen.distinct(at.NETWORKS)


@windowed("distinct_parameters_24h", type=int, high=44)
def distinct_parameters_24h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Different pairs of temperature and output bound in the last 12 to 24 hours; estimated, 44
    at most."""
    return seen.distinct(at.PARAMETERS)


@windowed("distinct_end_users_24h", type=int, high=111)
def distinct_end_users_24h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Different end users the caller named in the last 12 to 24 hours; estimated, 111 at most."""
    return seen.distinct(at.USERS)


@windowed("distinct_clients_24h", type=int, high=44)
def distinct_clients_24h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Different user agents of the account in the last 12 to 24 hours; estimated, 44 at most."""
    return seen.distinct(at.CLIENTS)


@windowed("distinct_workspaces_24h", type=int, high=44, needs="workspace")
def distinct_workspaces_24h(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Different projects in the last 12 to 24 hours, told apart by the folder of their file paths
    and the language of their code; estimated, 44 at most. Requests that name neither count for
    none."""
    return seen.distinct(at.WORKSPACES)


@windowed("model_switch_age_s", type=int)
def model_switch_age_s(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Seconds since the account first used a model it had not used before; None for its first."""
    return seen.model_switch_s()


# ── kind ─────────────────────────────────────────────────────────────────────────────────────


@windowed("hosting_share_24h", type=float, high=1)
def hosting_share_24h(seen: Behaviour, facts: RequestFacts) -> float | None:
    """Share of the account's requests that came from hosting networks; a half-life of 12 hours."""
    return seen.share(at.HOSTING)


@windowed("refused_share_24h", type=float, high=1)
def refused_share_24h(seen: Behaviour, facts: RequestFacts) -> float | None:
    """Share of the account's requests that were refused here; a half-life of 12 hours."""
    return seen.share(at.REFUSED)


@windowed("failed_share_24h", type=float, high=1)
def failed_share_24h(seen: Behaviour, facts: RequestFacts) -> float | None:
    """Share of the account's requests that the upstream failed or refused; a half-life of 12 h."""
    return seen.share(at.FAILED)


@windowed("retried_share_24h", type=float, high=1)
def retried_share_24h(seen: Behaviour, facts: RequestFacts) -> float | None:
    """Share of the account's requests within 5 seconds of a refusal; a half-life of 12 hours."""
    return seen.share(at.RETRIED)


@windowed("last_country", type=str)
def last_country(seen: Behaviour, facts: RequestFacts) -> str | None:
    """Country of the account's last served request, ISO 3166-1 alpha-2; None when not known."""
    return seen.last_country


@windowed("last_country_age_s", type=int)
def last_country_age_s(seen: Behaviour, facts: RequestFacts) -> int | None:
    """Seconds since that request; None when no country was known."""
    return seen.last_country_s()


# ── change ───────────────────────────────────────────────────────────────────────────────────


@windowed("usual_requests_24h", type=float)
def usual_requests_24h(seen: Behaviour, facts: RequestFacts) -> float | None:
    """Requests of a day as they were before today, each day weighing an eighth; None on the first
    day."""
    return seen.usual_requests()


@windowed("volume_change_24h", type=float)
def volume_change_24h(seen: Behaviour, facts: RequestFacts) -> float | None:
    """Requests of 24 hours over what is usual: 1.0 as ever, 10.0 tenfold; None on the first day."""
    return seen.volume_change()


# ── all of it ────────────────────────────────────────────────────────────────────────────────


@signal("collecting", type=float, needs="account", low=0, high=1)
def collecting(facts: RequestFacts, subject: Subject) -> float | None:
    """How much what the account did of late looks like collecting answers rather than using them,
    0..1, by a small model that `hydragate explain` spells out; None where nothing is kept."""
    return facts.collecting
