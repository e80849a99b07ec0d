"""Asks each model API, once, whether it serves callers without a key.

Where it does, its acceptance proves nothing: with `unknown_credentials: adopt` every key that
anyone makes up becomes an account. One `GET /v1/models` without credential or body, which costs an
API next to nothing; asked when such a policy comes into force, beside the traffic, and not again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ..errors import UpstreamError
from .forward import Target

log = logging.getLogger("hydragate.probe")

PROBE_TIMEOUT_S = 5.0
PROBE_PATH = b"/v1/models"


async def status_without_key(target: Target) -> int | None:
    """The status of its answer to nobody in particular; None when it gave none in time."""
    headers = [(b"user-agent", b"hydragate"), (b"accept", b"application/json")]
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            response = await target.upstream.send(
                b"GET", target.path_prefix + PROBE_PATH, headers, None
            )
    except (UpstreamError, TimeoutError):
        return None
    response.abort()
    return response.status


async def warn_of_open_upstreams(targets: Sequence[Target]) -> None:
    """One warning for each that answers with 2xx. Closes the targets; never raises."""
    statuses = await asyncio.gather(*map(status_without_key, targets))
    for target, status in zip(targets, statuses, strict=True):
        if status is not None and 200 <= status < 300:
            log.warning(
                "upstream '%s' answers GET %s without any key (%d), and the policy says "
                "unknown_credentials: adopt. EVERY KEY THAT ANYONE MAKES UP WILL BE SERVED AND "
                "BECOME AN ACCOUNT WITH LIMITS OF ITS OWN. Import your accounts and set "
                "unknown_credentials: refuse, or let the upstream ask for keys. "
                "(probe_upstreams: false in the settings ends this question.)",
                target.name,
                (target.path_prefix + PROBE_PATH).decode("latin-1"),
                status,
            )
    for target in targets:
        await target.upstream.aclose()
