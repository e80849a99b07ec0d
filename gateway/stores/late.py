"""A store that is opened by the first call: for applications that build before their loop runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from ..errors import StoreError
from ..model import Charge, ChargeReply, Identity, Settlement, Subject
from .redis import RedisStore

RETRY_AFTER_S = 1.0


class LateStore:
    """A `Store` around `open_store`; while it cannot be opened, every call fails at once.

    A store that must not be used (another secret, an evicting policy) raises
    StoreMismatchError from the first call: that is a mistake in the set-up, not a fault.
    """

    def __init__(self, opener: Callable[[], Awaitable[RedisStore]]) -> None:
        self._opener = opener
        self._store: RedisStore | None = None
        self._opening: asyncio.Lock | None = None
        self._not_before_s = 0.0

    async def resolve(self, credential: str) -> Identity | None:
        return await (self._store or await self._open()).resolve(credential)

    async def charge(self, charge: Charge) -> ChargeReply:
        return await (self._store or await self._open()).charge(charge)

    def settle_soon(self, settlement: Settlement) -> None:
        if self._store is not None:  # without it nothing was charged
            self._store.settle_soon(settlement)

    async def settle(self, settlement: Settlement) -> None:
        await (self._store or await self._open()).settle(settlement)

    def window(self, account_id: str) -> bytes | None:
        return None if self._store is None else self._store.window(account_id)

    async def fetch_window(self, account_id: str) -> None:
        await (self._store or await self._open()).fetch_window(account_id)

    async def adopt(self, credential: str, subject: Subject, *, ttl_us: int) -> Subject:
        store = self._store or await self._open()
        return await store.adopt(credential, subject, ttl_us=ttl_us)

    async def aclose(self) -> None:
        if self._store is not None:
            await self._store.aclose()
            self._store = None

    async def _open(self) -> RedisStore:
        if time.monotonic() < self._not_before_s:
            raise StoreError("unreachable", "the store could not be opened a moment ago")
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._store is None:
                try:
                    self._store = await self._opener()
                except StoreError:
                    self._not_before_s = time.monotonic() + RETRY_AFTER_S
                    raise
            return self._store
