"""Whether the store is still the one we began on: one that came back empty answers as if all were
well, and knows neither a ban nor a key.

It has a name that lives as long as what it holds. A new name means that the rest is gone: then we
do what a start does (claim it, import the accounts file), and say what that does not bring back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import HydragateError, StoreError
from ..stores import RedisStore

log = logging.getLogger("hydragate.store")

LOOK_EVERY_S = 2.0


class StoreWatch:
    """`losses` counts how often the store had lost what it held. `failure`: why the last look found
    nothing, None where all was well. A look writes, so a store that only reads fails it as well."""

    def __init__(
        self,
        store: RedisStore,
        *,
        secret_fingerprint: str,
        import_accounts: Callable[[], Awaitable[None]],
    ) -> None:
        self.losses = 0
        self.failure: StoreError | None = None
        self._store = store
        self._fingerprint = secret_fingerprint
        self._import_accounts = import_accounts
        self._name: str | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Once. Raises nothing: what fails now is tried at the next look."""
        try:
            name = await self._store.name()
            self.failure = None
            if self._name in (None, name):
                self._name = name
                return
            log.error(
                "the store has lost what it held: bans, grants, clusters and what was changed by "
                "hand are gone, and every limit begins full; accounts come from the accounts file, "
                "all else from an export: hydragate state import FILE --replace"
            )
            await self._store.check(self._fingerprint)
            await self._import_accounts()
        except StoreError as error:
            self.failure = error
            return  # away, not empty; whoever calls it says so
        except HydragateError as error:
            log.error("the store that came back empty is not as it was: %s", error)
        self._name = name
        self.losses += 1
