"""The store on Redis ≥ 6.2 or Valkey: one server, Sentinel, or Cluster.

The hot calls go over the multiplexed wire; everything else through redis-py, whose errors are
mapped to ours in one place (`_mapped`).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import RedisError

from ..errors import StoreError, StoreMismatchError
from ..model import Charge, ChargeReply, Identity, Settlement, Status, Subject, with_changes
from ..ports import OnKeyMove
from .codec import pack, split
from .keys import ADOPTED_KEY_ID, ADOPTED_TTL_MS, Keys
from .pages import scan_page
from .routing import Router
from .scripts import EXTEND, PUT_SUBJECT
from .wire import Observe

LAYOUT = b"1"
PSEUDONYM_BYTES = 12
SCAN_COUNT = 1000
READ_AT_ONCE = 32
OLDEST_VERSION = (6, 2)


class RedisStore:
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
        self._router = router
        self._clients = clients
        self._client = clients[0]
        self._keys = keys
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

    # ── Directory: the operator's side ───────────────────────────────────────────────────────

    async def put(
        self,
        subject: Subject,
        credentials: Mapping[str, str] | None,
        *,
        ttl_us: int | None = None,
        on_move: OnKeyMove | None = None,
    ) -> Subject:
        """A subject with a version replaces that version only; with version 0, whatever is there.

        Raises StoreError `conflict` when the account has changed since it was read.
        """
        if subject.pseudonym is None:
            subject = with_changes(subject, pseudonym=secrets.token_hex(PSEUDONYM_BYTES))
        account_id, ttl_ms = subject.account_id, 0 if ttl_us is None else max(1, ttl_us // 1000)
        name = self._keys.subject(account_id)
        conflict = StoreError("conflict", f"account {account_id} has changed meanwhile")
        with _mapped():
            stored = await self._client.get(name)
            if subject.version and (stored or b"").partition(b"\n")[0] != b"%d" % subject.version:
                raise conflict
            if credentials is not None:
                await self._grant_keys(account_id, credentials, on_move)
            pseudonym = self._keys.pseudonym(str(subject.pseudonym))
            await self._client.set(pseudonym, account_id, px=ttl_ms or None)
            version = await self._client.eval(
                PUT_SUBJECT.source,
                1,
                name,
                subject.version or "",
                ttl_ms,
                pack(subject, over=stored),
            )
            if not version:
                raise conflict
            if ttl_us is None:
                await self._persist(account_id)
            if credentials is not None:
                await self._revoke_keys(account_id, credentials)
                # A key that was revoked after the new version was read must not outlive it.
                version = await self._touch(account_id) or version
        return with_changes(subject, version=int(version))

    async def get(self, account_id: str) -> Subject | None:
        with _mapped():
            stored = await self._client.get(self._keys.subject(account_id))
        return None if stored is None else split(stored)

    async def keys(self, account_id: str) -> Mapping[str, str]:
        with _mapped():
            held = await self._client.hgetall(self._keys.account_keys(account_id))
        return {
            credential.decode(): key_id.decode() or ADOPTED_KEY_ID
            for credential, key_id in held.items()
        }

    async def remove(self, account_id: str) -> bool:
        with _mapped():
            stored = await self._client.get(self._keys.subject(account_id))
            await self._revoke_keys(account_id, {})
            if stored is not None:
                pseudonym = split(stored).pseudonym
                if pseudonym is not None:
                    await self._client.delete(self._keys.pseudonym(pseudonym))
            tag = f"a:{account_id}"
            for name in (
                self._keys.subject(account_id),
                self._keys.verification(account_id),
                self._keys.counters(tag, is_shadow=False),
                self._keys.counters(tag, is_shadow=True),
                self._keys.window(account_id),
            ):
                await self._client.delete(name)
            self._router.windows.drop(account_id)
        return stored is not None

    async def accounts(self) -> AsyncIterator[Subject]:
        with _mapped():
            names: list[bytes] = []
            async for name in self._client.scan_iter(
                match=self._keys.subjects_pattern(), count=SCAN_COUNT
            ):
                names.append(name)
                if len(names) == READ_AT_ONCE:
                    for stored in await asyncio.gather(*map(self._client.get, names)):
                        if stored is not None:
                            yield split(stored)
                    names.clear()
            for stored in await asyncio.gather(*map(self._client.get, names)):
                if stored is not None:
                    yield split(stored)

    async def page(self, cursor: str | None, *, enough: int) -> tuple[list[Subject], str | None]:
        with _mapped():
            names, following = await scan_page(
                self._client, self._keys.subjects_pattern(), cursor, enough=enough
            )
            stored: list[bytes | None] = []
            for start in range(0, len(names), READ_AT_ONCE):
                part = names[start : start + READ_AT_ONCE]
                stored += await asyncio.gather(*map(self._client.get, part))
        return [split(packed) for packed in stored if packed is not None], following

    async def windows_of(self, account_ids: Sequence[str]) -> list[bytes | None]:
        """Their windows (`core/window.py`), in order; None where none is kept."""
        found: list[bytes | None] = []
        with _mapped():
            for start in range(0, len(account_ids), READ_AT_ONCE):
                names = map(self._keys.window, account_ids[start : start + READ_AT_ONCE])
                found += await asyncio.gather(*map(self._client.get, names))
        return found

    async def account_of(self, pseudonym: str) -> str | None:
        """Whom a pseudonym in the log stands for; None once the account was erased."""
        with _mapped():
            found: bytes | None = await self._client.get(self._keys.pseudonym(pseudonym))
        return None if found is None else found.decode()

    async def set_shadow_all(self, shadow_all: bool) -> None:
        with _mapped():
            await self._client.set(self._keys.mode, "shadow-all" if shadow_all else "normal")

    async def is_shadow_all(self) -> bool:
        return await self._router.get(self._keys.mode) == b"shadow-all"

    async def wipe(self) -> None:
        """Delete everything under the prefix: for replays, which bring a prefix of their own."""
        with _mapped():
            async for name in self._client.scan_iter(match=f"{self._keys.prefix}*", count=1000):
                await self._client.delete(name)

    async def _grant_keys(
        self, account_id: str, credentials: Mapping[str, str], on_move: OnKeyMove | None = None
    ) -> None:
        """Add keys; one that another account held changes hands, and that account is told."""
        for credential, key_id in credentials.items():
            name = self._keys.credential(credential)
            before = await self._client.set(name, f"{account_id}\n{key_id}", get=True)
            await self._client.hset(self._keys.account_keys(account_id), credential, key_id)
            former, _, former_id = (
                before.decode().partition("\n") if before else (account_id, "", "")
            )
            if former != account_id:
                await self._client.hdel(self._keys.account_keys(former), credential)
                await self._touch(former)
                if on_move is not None and former_id:  # without an id it was only adopted
                    on_move(key_id, former)

    async def _revoke_keys(self, account_id: str, kept: Mapping[str, str]) -> None:
        held = await self._client.hkeys(self._keys.account_keys(account_id))
        for credential in held:
            if credential.decode() not in kept:
                await self._client.delete(self._keys.credential(credential.decode()))
                await self._client.hdel(self._keys.account_keys(account_id), credential)

    async def _touch(self, account_id: str) -> bytes:
        """A new version of an unchanged subject, so that every worker asks again."""
        version: bytes = await self._client.eval(
            PUT_SUBJECT.source, 1, self._keys.subject(account_id), "", 0, ""
        )
        return version

    async def _persist(self, account_id: str) -> None:
        """What an operator has written stays, and so do the keys that lead to it."""
        held = self._keys.account_keys(account_id)
        await self._client.persist(held)
        for credential in await self._client.hkeys(held):
            await self._client.persist(self._keys.credential(credential.decode()))

    # ── opening ──────────────────────────────────────────────────────────────────────────────

    async def check(self, secret_fingerprint: str, *, may_claim: bool = True) -> bool:
        """Whether the store is ours by now. An empty one becomes so, unless `may_claim` is false:
        then nothing is written.

        Raises StoreMismatchError when this store must not be used, with what to do.
        """
        with _mapped():
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

    async def infos(self, section: str) -> list[Mapping[str, Any]]:
        """INFO of the server, or of each primary of a Cluster; managed services often forbid
        CONFIG, and answer this."""
        with _mapped():
            if isinstance(self._client, RedisCluster):
                answers = await self._client.info(section, target_nodes=RedisCluster.PRIMARIES)
                return list(answers.values())
            return [await self._client.info(section)]

    async def server_time_us(self) -> int:
        """The clock that limits run on (of a Cluster: of any primary)."""
        with _mapped():
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
        with _mapped():
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
        raise StoreMismatchError(
            f"the store's maxmemory-policy is {policy}: it would drop bans and limits "
            "under pressure; set it to noeviction"
        )


@contextmanager
def _mapped() -> Iterator[None]:
    """The one place where redis-py's errors become ours."""
    try:
        yield
    except TimeoutError as error:
        raise StoreError("timeout", str(error) or "no reply in time") from None
    except RedisError as error:
        name = type(error).__name__
        kind = "refused"
        if "Timeout" in name:
            kind = "timeout"
        elif "Connection" in name or "ClusterDown" in name:
            kind = "unreachable"
        raise StoreError(kind, f"{name}: {error}") from None
    except OSError as error:
        raise StoreError("unreachable", str(error)) from None
