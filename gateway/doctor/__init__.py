"""Looks at everything that a start needs, changes nothing, and says in words what to repair.

Each file here is one topic: an async function `examine(settings)` that yields findings. A topic
that fails unexpectedly is a finding too; it keeps no other from being looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from ..settings import Settings
from . import (
    account_records,
    address_data,
    certificate,
    files,
    machine,
    mail,
    models,
    pages,
    policies,
    secret,
    state_store,
    upstreams,
)
from .finding import Finding, State

__all__ = ["Finding", "State", "examine"]

Topic = Callable[[Settings], AsyncIterator[Finding]]
TOPICS: tuple[tuple[str, Topic], ...] = (
    ("settings", files.examine),
    ("certificate", certificate.examine),
    ("secret", secret.examine),
    ("policy", policies.examine),
    ("accounts", account_records.examine),
    ("classifier", models.examine),
    ("store", state_store.examine),
    ("address data", address_data.examine),
    ("upstream", upstreams.examine),
    ("verification pages", pages.examine),
    ("mail server", mail.examine),
    ("machine", machine.examine),
)


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every topic in turn. Never raises for what it finds."""
    for name, topic in TOPICS:
        try:
            async for finding in topic(settings):
                yield finding
        except Exception as error:
            said = f"could not be looked at: {type(error).__name__}: {error}"
            yield Finding(name, State.BAD, said, "please report this; it should not happen")
