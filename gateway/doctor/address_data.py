"""The address data: sound, not too old, and what lists of networks they have."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from ipaddress import ip_network

from ..app import geo_holder
from ..errors import UsageError
from ..settings import Settings
from .finding import Finding, bad, ok, warning

TOPIC = "address data"
DAY_S = 86_400
WITHOUT = {
    "hosting": "a program's exit is taken for a home in that country",
    "vpn": "an exit of a VPN is taken for a home in that country",
    "tor": "an exit of Tor is taken for a home in that country",
}
"""What follows where a class has no list; `education` is a home, known or not."""
FRESH = "add a fresh list: hydragate geo build --{name} LIST --whole {name} (docs/regions.md)"


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    try:
        holder = geo_holder(settings.geo)
    except UsageError as error:
        yield bad(TOPIC, str(error), "name a sound file in geo.files")
        return
    age_s = holder.age_s()
    if age_s is None:
        yield warning(TOPIC, "there are none: country and network class are unknown", "geo.files")
        return
    said = f"{len(holder.current.files)} files, the oldest of {int(age_s / DAY_S)} days ago"
    if age_s > settings.geo.warn_after_days * DAY_S:
        yield warning(TOPIC, said, "name newer files in geo.files (docs/regions.md)")
    else:
        yield ok(TOPIC, said)
    for finding in lists(
        holder.current.list_dates(), time.time(), settings.geo.warn_lists_after_days
    ):
        yield finding
    for finding in chain(settings):
        yield finding


def chain(settings: Settings) -> Iterator[Finding]:
    """Who may say where a client is."""
    if not settings.trusted_proxies:
        yield ok(TOPIC, "no trusted_proxies: the peer's own address counts")
        if "address_header" in settings.model_fields_set:
            yield warning(
                TOPIC,
                f"address_header ({settings.address_header}) is not read: nobody is trusted",
                "name the networks of your balancer or CDN in trusted_proxies",
            )
    for network in settings.trusted_proxies:
        if ip_network(network).prefixlen == 0:
            yield bad(
                TOPIC,
                f"trusted_proxies has {network}: every client chooses its own address and country",
                "name only the networks of what stands in front",
            )


def lists(dates: Mapping[str, int], now_s: float, most_days: float) -> Iterator[Finding]:
    """`dates`: of the newest list of each class, in seconds; what is missing has none."""
    for name, consequence in WITHOUT.items():
        fix = FRESH.format(name=name)
        if name not in dates:
            yield warning(TOPIC, f"no list of {name} networks: {consequence}", fix)
            continue
        days = (now_s - dates[name]) / DAY_S
        said = f"the newest list of {name} networks is {int(days)} days old"
        if days > most_days:
            yield warning(TOPIC, f"{said}: addresses have changed hands since", fix)
        else:
            yield ok(TOPIC, said)
