"""What people decided, as it lies in the store: read out of one, written into another.

Law: what is written over is replaced whole; nothing that is not named is touched. An account comes
in under a new version, so that every worker of a running gateway asks again.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from ..errors import StoreError
from .codec import named, split, unpack
from .pages import scan_page
from .redis import RedisStore
from .redis_errors import mapped
from .scripts import PUT_SUBJECT
from .verification import RECORD_TTL_MS

AT_ONCE = 256
_pack = msgspec.msgpack.Encoder().encode

Record = dict[str, Any]


class StateBook:
    """Both ends. Methods raise StoreError."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._client: Any = store._client
        self._keys = store._keys

    # ── out ──────────────────────────────────────────────────────────────────────────────────

    async def accounts(self) -> AsyncIterator[Record]:
        """Each once, with its keys (hashed) and what is under way of its verification."""
        seen: set[str] = set()
        async for name in self._names(self._keys.subjects_pattern()):
            record = await self._account(name)
            if record is not None and record["account_id"] not in seen:
                seen.add(record["account_id"])
                yield record

    async def proofs(self) -> AsyncIterator[Record]:
        """Who was verified with one mailbox, phone, card or identity (hashed), and until when."""
        seen: set[bytes] = set()
        pattern = self._keys.proofs_pattern()
        prefix, _, suffix = pattern.encode().partition(b"*")
        async for name in self._names(pattern):
            if name in seen:
                continue
            seen.add(name)
            with mapped():
                held = await self._client.zrange(name, 0, -1, withscores=True)
            if held:
                holders = {account.decode(): int(until) for account, until in held}
                proof = name.removeprefix(prefix).removesuffix(suffix).decode()
                yield {"kind": "proof", "proof": proof, "holders": holders}

    async def waiting(self) -> AsyncIterator[Record]:
        """Appeals without an answer, and news that could not be delivered."""
        with mapped():
            appeals = await self._client.zrange(
                self._keys.verifications("appeals"), 0, -1, withscores=True
            )
            dead = await self._client.hgetall(self._keys.verifications("dead"))
        for account, at_ms in appeals:
            yield {"kind": "appeal", "account_id": account.decode(), "at_ms": int(at_ms)}
        for event_id, news in sorted(dead.items()):
            yield {"kind": "news", "event_id": event_id.decode(), "packed": _text(news)}

    async def has_accounts(self) -> bool:
        async for _ in self._names(self._keys.subjects_pattern()):
            return True
        return False

    async def _names(self, pattern: str) -> AsyncIterator[bytes]:
        cursor: str | None = None
        while True:
            names, cursor = await scan_page(self._client, pattern, cursor, enough=AT_ONCE)
            for name in names:
                yield name
            if cursor is None:
                return

    async def _account(self, name: bytes) -> Record | None:
        """As it is stored, fields of newer versions included. None when it has gone meanwhile.
        Raises StoreError for what is no account."""
        with mapped():
            stored = await self._client.get(name)
            if stored is None:
                return None
            subject = split(stored)
            account_id, ttl_ms = subject.account_id, int(await self._client.pttl(name))
            keys = await self._client.hgetall(self._keys.account_keys(account_id))
            under_way = await self._client.get(self._keys.verification(account_id))
            due_ms = await self._client.zscore(self._keys.verifications("due"), account_id)
        record: Record = {
            "kind": "account",
            "account_id": account_id,
            "subject": named(stored.partition(b"\n")[2]),
            "keys": {key.decode(): key_id.decode() for key, key_id in keys.items()},
        }
        if ttl_ms > 0:
            record["ttl_ms"] = ttl_ms
        if under_way is not None:
            record["verification"] = _text(under_way.partition(b"\n")[2])
        if due_ms is not None:
            record["due_ms"] = int(due_ms)
        return record

    # ── in ───────────────────────────────────────────────────────────────────────────────────

    async def put(self, record: Record) -> None:
        """One record of the methods above."""
        kind = record["kind"]
        if kind == "account":
            await self._put_account(record)
            return
        with mapped():
            if kind == "proof":
                await self._put_proof(record)
            elif kind == "appeal":
                name = self._keys.verifications("appeals")
                await self._client.zadd(name, {record["account_id"]: record["at_ms"]})
            elif kind == "news":
                name = self._keys.verifications("dead")
                await self._client.hset(name, record["event_id"], _bytes(record["packed"]))

    async def _put_account(self, record: Record) -> None:
        """Subject last: no key leads to an account of which less is known than was."""
        account_id, ttl_ms = record["account_id"], int(record.get("ttl_ms", 0))
        packed = _pack(record["subject"])
        subject = check_subject(record)
        with mapped():
            await self._store._revoke_keys(account_id, record["keys"])
            await self._store._grant_keys(account_id, record["keys"])
            if subject.pseudonym is not None:
                name = self._keys.pseudonym(subject.pseudonym)
                await self._client.set(name, account_id, px=ttl_ms or None)
            await self._put_verification(account_id, record)
            await self._client.eval(
                *(PUT_SUBJECT.source, 1, self._keys.subject(account_id)), *("", ttl_ms, packed)
            )
            if ttl_ms:
                held = self._keys.account_keys(account_id)
                for name in (held, *map(self._keys.credential, record["keys"])):
                    await self._client.pexpire(name, ttl_ms)
            else:
                await self._store._persist(account_id)

    async def _put_verification(self, account_id: str, record: Record) -> None:
        name, due = self._keys.verification(account_id), self._keys.verifications("due")
        if "verification" in record:
            body = b"1\n" + _bytes(record["verification"])
            await self._client.set(name, body, px=RECORD_TTL_MS)
        else:
            await self._client.unlink(name)
        if "due_ms" in record:
            await self._client.zadd(due, {account_id: record["due_ms"]})

    async def _put_proof(self, record: Record) -> None:
        name, holders = self._keys.proof(record["proof"]), record["holders"]
        await self._client.unlink(name)
        await self._client.zadd(name, holders)
        await self._client.pexpireat(name, max(holders.values()))


def check_subject(record: Record) -> Any:
    """The account that a record holds. Raises StoreError for what is none."""
    subject = unpack(_pack(record["subject"]), 0)
    if subject.account_id != record["account_id"]:
        raise StoreError("refused", f"account {record['account_id']}: its record names another")
    return subject


def _text(packed: bytes) -> str:
    return base64.b64encode(packed).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
