"""Settings that keep the gateway from starting, as `serve` itself looks for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..preflight import faults
from ..settings import Settings
from .finding import Finding, bad, ok

TOPIC = "settings"


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    found = [bad(TOPIC, str(fault), fault.fix) for fault in faults(settings)]
    for finding in found or [ok(TOPIC, "files, folders and names in them can be used")]:
        yield finding
