"""The model APIs: whether they answer, and how to callers without a key; none is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ..adapters.probe import PROBE_PATH, status_without_key
from ..app import build_targets, policies_for
from ..errors import PolicyError, UsageError
from ..policy.load import PolicyHolder
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
    adopts = _adopts(settings)
    for target, config, status in zip(targets, settings.upstreams, statuses, strict=True):
        await target.upstream.aclose()
        yield _finding(f"'{target.name}' ({config.url})", status, adopts=adopts)


def _finding(where: str, status: int | None, *, adopts: bool) -> Finding:
    """`status`: of its answer to nobody in particular. `adopts`: a key that nobody imported counts
    once the API has accepted it."""
    match status:
        case None:
            return bad(TOPIC, f"{where} does not answer", "check URL, DNS, egress rules, ca_file")
        case 401 | 403:
            return ok(TOPIC, f"{where} answers, and asks for a key ({status})")
        case 404:
            return warning(
                TOPIC,
                f"{where} has no {PROBE_PATH.decode()} there (404); perhaps no call finds anything",
                "name scheme and host, and of the path only what comes before /v1",
            )
        case _ if 200 <= status < 300 and not adopts:
            return ok(TOPIC, f"{where} serves callers without any key; nobody unknown gets there")
        case _ if 200 <= status < 300:
            return warning(
                TOPIC,
                f"{where} serves callers without any key",
                "import your accounts and say unknown_credentials: refuse",
            )
        case _ if status >= 500:
            return bad(
                TOPIC,
                f"{where} answers with a fault ({status})",
                "look at the model API, or at what stands in front of it",
            )
        case _:
            return warning(
                TOPIC,
                f"{where} answers a question without a key with {status} instead of 401",
                "check that the URL leads to the model API itself",
            )


def _adopts(settings: Settings) -> bool:
    """Whether the policy takes in keys that nobody imported; a bad policy is another topic's."""
    try:
        return policies_for(settings, PolicyHolder(settings.policy)).current.adopts_unknown
    except PolicyError:
        return False
