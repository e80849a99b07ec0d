"""What the account did of late: volume, rhythm, variety, change. As its window in the store says.

Counted are inference requests, when they are settled: a request that is decided sees what was
settled before it and heard of by this process. All are None while nothing is kept: on the first
request, and after eight idle days. Windows are kept once a policy names one of these signals, or
the setting `windows` asks for them.
"""

from __future__ import annotations

from ..core import window as at
from ..core.behaviour import Behaviour, read_window
from ..model import SECOND_US, RequestFacts, Subject
from ..registry import signal

HOUR, DAY, WEEK = range(3)


def behaviour_of(facts: RequestFacts) -> Behaviour | None:
    return read_window(facts.window, facts.received_us // SECOND_US)


# ── volume ───────────────────────────────────────────────────────────────────────────────────


@signal("requests_1h", type=int, needs="window")
def requests_1h(facts: RequestFacts, subject: Subject) -> int | None:
    """Served requests of the account in the last hour, estimated from this hour and the last."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.requests(HOUR)


@signal("requests_24h", type=int, needs="window")
def requests_24h(facts: RequestFacts, subject: Subject) -> int | None:
    """Served requests of the account in this hour and the 23 before it; above 254 in one of them
    estimated from today and yesterday."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.requests(DAY)


@signal("requests_7d", type=int, needs="window")
def requests_7d(facts: RequestFacts, subject: Subject) -> int | None:
    """Served requests of the account in the last 7 days, estimated from this week and the last."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.requests(WEEK)


@signal("tokens_1h", type=int, needs="window")
def tokens_1h(facts: RequestFacts, subject: Subject) -> int | None:
    """Input and output tokens the account used in the last hour, as settled and estimated."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.input_tokens(HOUR) + seen.output_tokens(HOUR)


@signal("tokens_24h", type=int, needs="window")
def tokens_24h(facts: RequestFacts, subject: Subject) -> int | None:
    """Input and output tokens the account used in 24 hours, estimated from today and yesterday."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.input_tokens(DAY) + seen.output_tokens(DAY)


@signal("tokens_7d", type=int, needs="window")
def tokens_7d(facts: RequestFacts, subject: Subject) -> int | None:
    """Input and output tokens the account used in 7 days, estimated from this week and the last."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.input_tokens(WEEK) + seen.output_tokens(WEEK)


@signal("output_tokens_24h", type=int, needs="window")
def output_tokens_24h(facts: RequestFacts, subject: Subject) -> int | None:
    """Output tokens alone, over 24 hours; what a model's answers are collected by."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.output_tokens(DAY)


# ── rhythm ───────────────────────────────────────────────────────────────────────────────────


@signal("active_hours_24h", type=int, needs="window")
def active_hours_24h(facts: RequestFacts, subject: Subject) -> int | None:
    """Of the last 24 hours how many had a served request, 0 to 24."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.active_hours


@signal("usual_gap_s", type=int, needs="window")
def usual_gap_s(facts: RequestFacts, subject: Subject) -> int | None:
    """The median pause between requests is below this: 1, 4, 16 … 16384 seconds; None before the
    second request."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.usual_gap_s()


# ── variety ──────────────────────────────────────────────────────────────────────────────────


@signal("distinct_networks_24h", type=int, needs="window")
def distinct_networks_24h(facts: RequestFacts, subject: Subject) -> int | None:
    """Client networks the account came from in the last 12 to 24 hours; an estimate, within a
    tenth or so up to 30, and 111 for all beyond."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.distinct(at.NETWORKS)


@signal("distinct_parameters_24h", type=int, needs="window")
def distinct_parameters_24h(facts: RequestFacts, subject: Subject) -> int | None:
    """Different pairs of temperature and output bound in the last 12 to 24 hours; estimated, 44
    at most."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.distinct(at.PARAMETERS)


@signal("distinct_end_users_24h", type=int, needs="window")
def distinct_end_users_24h(facts: RequestFacts, subject: Subject) -> int | None:
    """Different end users the caller named in the last 12 to 24 hours; estimated, 111 at most."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.distinct(at.USERS)


@signal("distinct_clients_24h", type=int, needs="window")
def distinct_clients_24h(facts: RequestFacts, subject: Subject) -> int | None:
    """Different user agents of the account in the last 12 to 24 hours; estimated, 44 at most."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.distinct(at.CLIENTS)


@signal("distinct_workspaces_24h", type=int, needs="workspace")
def distinct_workspaces_24h(facts: RequestFacts, subject: Subject) -> int | None:
    """Different projects in the last 12 to 24 hours, told apart by the folder of their file paths
    and the language of their code; estimated, 44 at most. Requests that name neither count for
    none."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.distinct(at.WORKSPACES)


@signal("model_switch_age_s", type=int, needs="window")
def model_switch_age_s(facts: RequestFacts, subject: Subject) -> int | None:
    """Seconds since the account first used a model it had not used before; None for its first."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.model_switch_s()


# ── kind ─────────────────────────────────────────────────────────────────────────────────────


@signal("hosting_share_24h", type=float, needs="window")
def hosting_share_24h(facts: RequestFacts, subject: Subject) -> float | None:
    """Share of the account's requests that came from hosting networks; a half-life of 12 hours."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.share(at.HOSTING)


@signal("refused_share_24h", type=float, needs="window")
def refused_share_24h(facts: RequestFacts, subject: Subject) -> float | None:
    """Share of the account's requests that were refused here; a half-life of 12 hours."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.share(at.REFUSED)


@signal("failed_share_24h", type=float, needs="window")
def failed_share_24h(facts: RequestFacts, subject: Subject) -> float | None:
    """Share of the account's requests that the upstream failed or refused; a half-life of 12 h."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.share(at.FAILED)


@signal("retried_share_24h", type=float, needs="window")
def retried_share_24h(facts: RequestFacts, subject: Subject) -> float | None:
    """Share of the account's requests within 5 seconds of a refusal; a half-life of 12 hours."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.share(at.RETRIED)


@signal("last_country", type=str, needs="window")
def last_country(facts: RequestFacts, subject: Subject) -> str | None:
    """Country of the account's last served request, ISO 3166-1 alpha-2; None when not known."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.last_country


@signal("last_country_age_s", type=int, needs="window")
def last_country_age_s(facts: RequestFacts, subject: Subject) -> int | None:
    """Seconds since that request; None when no country was known."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.last_country_s()


# ── change ───────────────────────────────────────────────────────────────────────────────────


@signal("usual_requests_24h", type=float, needs="window")
def usual_requests_24h(facts: RequestFacts, subject: Subject) -> float | None:
    """Requests of a day as they were before today, each day weighing an eighth; None on the first
    day."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.usual_requests()


@signal("volume_change_24h", type=float, needs="window")
def volume_change_24h(facts: RequestFacts, subject: Subject) -> float | None:
    """Requests of 24 hours over what is usual: 1.0 as ever, 10.0 tenfold; None on the first day."""
    seen = behaviour_of(facts)
    return None if seen is None else seen.volume_change()


# ── all of it ────────────────────────────────────────────────────────────────────────────────


@signal("collecting", type=float, needs="account")
def collecting(facts: RequestFacts, subject: Subject) -> float | None:
    """How much what the account did of late looks like collecting answers rather than using them,
    0..1, by a small model that `hydragate explain` spells out; None where nothing is kept."""
    return facts.collecting
