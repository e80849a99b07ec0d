"""The pages of a verification: whether what links name leads to this gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from ..settings import Settings
from .finding import Finding, ok, warning

TOPIC = "verification pages"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Behind a data plane nothing leads to them by itself: the check port never serves them."""
    config = settings.verification
    if config is None:
        return
    url = urlsplit(config.public_url)
    if settings.checks is not None:
        yield warning(
            TOPIC,
            f"they and the webhooks are served on {settings.host}:{settings.port} alone, and data "
            "planes ask at the check port",
            f"let {url.netloc} lead there and nowhere else (docs/surfaces.md, Pages and webhooks)",
        )
    elif url.scheme == "http" and url.hostname not in LOOPBACK:
        yield warning(TOPIC, f"links begin with {config.public_url}", "use https in public_url")
    else:
        yield ok(TOPIC, f"links begin with {config.public_url}")
