"""The model APIs: whether a connection, and TLS, can be had; no credential is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ..adapters.probe import status_without_key
from ..app import build_targets
from ..errors import UsageError
from ..settings import Settings
from .finding import Finding, bad, ok, warning

TOPIC = "upstream"


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    try:
        targets = build_targets(settings)
    except UsageError as error:
        yield bad(TOPIC, str(error), "repair api_key_file or ca_file")
        return
    statuses = await asyncio.gather(*map(status_without_key, targets))
    for target, config, status in zip(targets, settings.upstreams, statuses, strict=True):
        await target.upstream.aclose()
        where = f"'{target.name}' ({config.url})"
        if status is None:
            yield bad(TOPIC, f"{where} does not answer", "check URL, DNS, egress rules, ca_file")
        elif 200 <= status < 300:
            yield warning(
                TOPIC,
                f"{where} serves callers without any key",
                "import your accounts and say unknown_credentials: refuse",
            )
        else:
            yield ok(TOPIC, f"{where} answers, and asks for a key ({status})")
