"""The address data: sound, and not too old."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..app import geo_holder
from ..errors import UsageError
from ..settings import Settings
from .finding import Finding, bad, ok, warning

TOPIC = "address data"
DAY_S = 86_400


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
    said = f"{len(holder.current.files)} files, the oldest of {age_s / DAY_S:.0f} days ago"
    if age_s > settings.geo.warn_after_days * DAY_S:
        yield warning(TOPIC, said, "name newer files in geo.files (docs/regions.md)")
    else:
        yield ok(TOPIC, said)
    if not settings.trusted_proxies:
        yield ok(TOPIC, "no trusted_proxies: the peer's own address counts")
