"""The store on Redis ≥ 6.2 or Valkey: one server, Sentinel, or Cluster.

The hot calls go over the multiplexed wire; everything else through redis-py, whose errors are
mapped to ours in one place (`redis_errors`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from redis.asyncio.cluster import RedisCluster

from ..errors import EvictingStoreError, StoreError, StoreMismatchError
from ..model import Charge, ChargeReply, Identity, Settlement, Status, Subject, with_changes
from .codec import pack, split
from .keys import ADOPTED_TTL_MS, Keys
from .redis_directory import PSEUDONYM_BYTES, RedisDirectory
from .redis_errors import mapped
from .routing import Router
from .scripts import EXTEND, PUT_SUBJECT
from .wire import Observe

LAYOUT = b"1"
OLDEST_VERSION = (6, 2)


class RedisStore(RedisDirectory):
    """`Store` and `Directory` on one deployment; build it with `open_store`."""

    def __init__(
        self,
        *,
        router: Router,
        clients: Sequence[Any],
        keys: Keys,
        timeout_s: float,
        observe: Observe,
    ) -> None:
        """`clients` are redis-py's: the first is used, all are closed with the store."""
        super().__init__(router=router, client=clients[0], keys=keys)
        self._clients = clients
        self._timeout_s = timeout_s
        self._observe = observe
        self.window = router.windows.get  # asked once a request: no call more than it takes

    async def aclose(self) -> None:
        await self._router.aclose()
        for client in self._clients:
            await client.aclose()

    # ── Store: the hot path ──────────────────────────────────────────────────────────────────

    def charge(self, charge: Charge) -> Awaitable[ChargeReply]:
        return self._router.charge(charge)

    def settle_soon(self, settlement: Settlement) -> None:
        self._router.settle_soon(settlement)

    async def settle(self, settlement: Settlement) -> None:
        await self._router.settle(settlement)

    async def fetch_window(self, account_id: str) -> None:
        packed = await self._router.get(self._keys.window(account_id))
        if packed is None:
            self._router.windows.drop(account_id)
        else:
            self._router.windows.put(account_id, packed)

    async def resolve(self, credential: str) -> Identity | None:
        with self._observed("resolve"):
            owner = await self._router.get(self._keys.credential(credential))
            if owner is None:
                return None
            account_id, _, key_id = owner.decode().partition("\n")
            stored = await self._router.get(self._keys.subject(account_id))
            if stored is None:
                return None
            subject = split(stored)
        if subject.status is Status.ADOPTED:
            with contextlib.suppress(StoreError):
                await self._extend_adopted(credential, subject)
        return Identity(subject, key_id or None)

    async def adopt(self, credential: str, subject: Subject, *, ttl_us: int) -> Subject:
        """What is already stored for the account stays: a ban outlives a forgotten key."""
        if subject.pseudonym is None:
            subject = with_changes(subject, pseudonym=secrets.token_hex(PSEUDONYM_BYTES))
        account_id, ttl_ms = subject.account_id, max(1, ttl_us // 1000)
        name, held = self._keys.credential(credential), self._keys.account_keys(account_id)
        with self._observed("adopt"):
            is_new = await self._quick(
                self._client.set(name, f"{account_id}\n", nx=True, px=ttl_ms)
            )
            known = None if is_new else await self.resolve(credential)
            if known is not None:
                return known.subject
            version = await self._quick(
                self._client.eval(
                    *(PUT_SUBJECT.source, 1, self._keys.subject(account_id)),
                    *(0, ttl_ms, pack(subject)),
                )
            )
            await self._quick(self._client.hset(held, credential, ""))
            if version:
                pseudonym = self._keys.pseudonym(str(subject.pseudonym))
                await self._quick(self._client.pexpire(held, ttl_ms))
                await self._quick(self._client.set(pseudonym, account_id, px=ttl_ms))
                return with_changes(subject, version=int(version))
            stored = await self.get(account_id)
            if stored is not None and stored.status is not Status.ADOPTED:
                await self._persist(account_id)
        return subject if stored is None else stored

    async def _extend_adopted(self, credential: str, subject: Subject) -> None:
        for name in (
            self._keys.credential(credential),
            self._keys.subject(subject.account_id),
            self._keys.account_keys(subject.account_id),
            self._keys.pseudonym(str(subject.pseudonym)),
        ):
            await self._quick(self._client.eval(EXTEND.source, 1, name, ADOPTED_TTL_MS))

    # ── opening ──────────────────────────────────────────────────────────────────────────────

    async def check(self, secret_fingerprint: str, *, may_claim: bool = True) -> bool:
        """Whether the store is ours by now. An empty one becomes so, unless `may_claim` is false:
        then nothing is written.

        Raises StoreMismatchError when this store must not be used, with what to do.
        """
        with mapped():
            for server in await self.infos("server"):
                _check_version(str(server.get("redis_version", "")))
            for memory in await self.infos("memory"):
                _check_eviction(memory)
            name = self._keys.meta
            if may_claim:
                await self._client.hsetnx(name, "layout", LAYOUT)
                await self._client.hsetnx(name, "secret", secret_fingerprint)
            layout, secret = await self._client.hmget(name, ["layout", "secret"])
        if layout is None or secret is None:
            return False
        _check_owner(layout, secret.decode(), secret_fingerprint)
        return True

    async def name(self) -> str:
        """Made by whoever first asks an empty store; it stays as long as what the store holds."""
        with mapped():
            await self._client.hsetnx(self._keys.meta, "name", secrets.token_hex(8))
            (name,) = await self._client.hmget(self._keys.meta, ["name"])
        if name is None:
            raise StoreError("unreachable", "it was emptied just now")
        return str(name.decode())

    async def infos(self, section: str) -> list[Mapping[str, Any]]:
        """INFO of the server, or of each primary of a Cluster; managed services often forbid
        CONFIG, and answer this."""
        with mapped():
            if isinstance(self._client, RedisCluster):
                answers = await self._client.info(section, target_nodes=RedisCluster.PRIMARIES)
                return list(answers.values())
            return [await self._client.info(section)]

    async def server_time_us(self) -> int:
        """The clock that limits run on (of a Cluster: of any primary)."""
        with mapped():
            seconds, microseconds = await self._client.time()
        return int(seconds) * 1_000_000 + int(microseconds)

    @contextmanager
    def _observed(self, call: str) -> Iterator[None]:
        started, kind = time.perf_counter(), None
        try:
            yield
        except StoreError as error:
            kind = error.kind
            raise
        finally:
            self._observe(call, time.perf_counter() - started, kind)

    async def _quick(self, call: Awaitable[Any]) -> Any:
        """A call on the hot path: late is as bad as lost."""
        with mapped():
            async with asyncio.timeout(self._timeout_s):
                return await call


def _check_owner(layout: bytes, secret: str, secret_fingerprint: str) -> None:
    if layout != LAYOUT:
        raise StoreMismatchError(
            f"the store has layout {layout.decode()}; this version knows {LAYOUT.decode()}"
        )
    if secret != secret_fingerprint:
        raise StoreMismatchError(
            "the store was filled under another secret, so no key in it would be recognised; "
            "start with that --secret-file, or with an empty store"
        )


def _check_version(version: str) -> None:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is not None and (int(numbers[1]), int(numbers[2])) < OLDEST_VERSION:
        raise StoreMismatchError(f"the store is version {version}; Redis 6.2 or any Valkey will do")


def _check_eviction(memory: Mapping[str, Any]) -> None:
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and int(memory.get("maxmemory", 0)) > 0:
        raise EvictingStoreError(
            f"the store's maxmemory-policy is {policy}: it would drop bans and limits "
            "under pressure; set it to noeviction"
        )
