"""A lease for one leader among several processes.

Law: whoever thinks it holds the lease holds it. The holder counts from before it asked, and
gives up a margin before the store does; what it writes under the lease is checked there too.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from .redis import RedisStore
from .redis_errors import mapped
from .scripts import LEASE

MARGIN = 0.8  # of the lease, after which the holder no longer trusts it


class Lease:
    """One process's claim to `name`. Methods raise StoreError."""

    def __init__(self, store: RedisStore, name: str, *, lease_s: float) -> None:
        self.token = secrets.token_hex(8)
        self.epoch = 0  # of the last time it was held; grows with every new holder
        self.key = store._keys.linker(name)
        self._epoch_key = store._keys.linker(f"{name}-epoch")
        self._client: Any = store._client
        self._lease_s = lease_s
        self._held_until_s = 0.0

    @property
    def is_held(self) -> bool:
        return time.monotonic() < self._held_until_s

    async def hold(self) -> bool:
        """Take or prolong it; False while another process holds it."""
        asked_s = time.monotonic()
        epoch = await self._ask(int(self._lease_s * 1000))
        if not epoch:
            self._held_until_s = 0.0
            return False
        self.epoch = epoch
        self._held_until_s = asked_s + MARGIN * self._lease_s
        return self.is_held

    async def give_back(self) -> None:
        """The next who asks gets it at once."""
        self._held_until_s = 0.0
        await self._ask(0)

    async def _ask(self, ttl_ms: int) -> int:
        with mapped():
            epoch = await self._client.eval(
                LEASE.source, 2, self.key, self._epoch_key, self.token, ttl_ms
            )
        return int(epoch)
