"""The accounts of a store on Redis: who they are, their keys, the kill switch. Not the hot path."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from ..errors import StoreError
from ..model import Subject, with_changes
from ..ports import OnKeyMove
from .codec import pack, split
from .keys import ADOPTED_KEY_ID, Keys
from .pages import scan_page
from .redis_errors import mapped
from .routing import Router
from .scripts import PUT_SUBJECT

PSEUDONYM_BYTES = 12
SCAN_COUNT = 1000
READ_AT_ONCE = 32


class RedisDirectory:
    """`Directory` on one deployment. Methods raise StoreError where it fails."""

    def __init__(self, *, router: Router, client: Any, keys: Keys) -> None:
        """`client` is redis-py's."""
        self._router = router
        self._client = client
        self._keys = keys

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
        with mapped():
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
        with mapped():
            stored = await self._client.get(self._keys.subject(account_id))
        return None if stored is None else split(stored)

    async def keys(self, account_id: str) -> Mapping[str, str]:
        with mapped():
            held = await self._client.hgetall(self._keys.account_keys(account_id))
        return {
            credential.decode(): key_id.decode() or ADOPTED_KEY_ID
            for credential, key_id in held.items()
        }

    async def remove(self, account_id: str) -> bool:
        with mapped():
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
        with mapped():
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
        with mapped():
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
        with mapped():
            for start in range(0, len(account_ids), READ_AT_ONCE):
                names = map(self._keys.window, account_ids[start : start + READ_AT_ONCE])
                found += await asyncio.gather(*map(self._client.get, names))
        return found

    async def account_of(self, pseudonym: str) -> str | None:
        """Whom a pseudonym in the log stands for; None once the account was erased."""
        with mapped():
            found: bytes | None = await self._client.get(self._keys.pseudonym(pseudonym))
        return None if found is None else found.decode()

    async def set_shadow_all(self, shadow_all: bool) -> None:
        with mapped():
            await self._client.set(self._keys.mode, "shadow-all" if shadow_all else "normal")

    async def is_shadow_all(self) -> bool:
        return await self._router.get(self._keys.mode) == b"shadow-all"

    async def wipe(self) -> None:
        """Delete everything under the prefix: for replays, which bring a prefix of their own."""
        with mapped():
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
