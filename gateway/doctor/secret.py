"""The secret that keys every hash, and the other files that only the gateway may read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from ..app import read_secret, secret_path
from ..errors import UsageError
from ..settings import Settings
from .finding import Finding, bad, ok, warning

TOPIC = "secret"


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    path, may_create = secret_path(settings)
    if may_create and not path.exists():
        yield ok(TOPIC, f"{path} will be made at the first start; back it up then")
    else:
        yield _readable(TOPIC, path, fix="make one with: openssl rand -hex 32 > FILE")
        if settings.store != "embedded" and may_create:
            yield warning(
                TOPIC,
                f"{path} lies in this gateway's own data directory, while the store is shared",
                "give every gateway the same file with secret_file; another secret cannot start",
            )
    for finding in _others(settings):
        yield finding


def _others(settings: Settings) -> Iterator[Finding]:
    if settings.admin_token_file is not None:
        yield _readable(
            "admin token", settings.admin_token_file, fix="put a long random text there"
        )
    for upstream in settings.upstreams:
        if upstream.api_key_file is not None:
            yield _readable(
                f"upstream {upstream.name}",
                upstream.api_key_file,
                fix="put the model API's key there",
                least=1,
            )


def _readable(topic: str, path: Path, *, fix: str, least: int | None = None) -> Finding:
    try:
        if least is None:
            read_secret(path, may_create=False)
        else:
            read_secret(path, may_create=False, least=least)
    except UsageError as error:
        return bad(topic, str(error), fix)
    return ok(topic, f"{path} is readable by its owner alone")
