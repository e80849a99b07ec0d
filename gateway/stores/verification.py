"""Verifications under way: the account's record beside its subject, and who holds which proof.

Law: a record and its subject are written together or not at all, on the versions that were read;
so of two who pass the same step at once one is told that something changed, and looks again.
Law: before a record is written that somebody must look at later, the account stands in the list
of those to look at; an entry without a reason costs one look.

Bounds: a record takes about 300 bytes and its list entry 100, and lapses `RECORD_TTL_MS` after it
was last written; a proof has as many holders as the operator allows; `MAX_DEAD` undeliverable news.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..friction.record import EMPTY, Record, next_look_us
from ..friction.visit import Entry
from ..model import Subject
from .codec import pack, split
from .redis import RedisStore
from .redis_errors import mapped
from .scripts import CLAIM_PROOF, COMMIT_VERIFICATION

RECORD_TTL_MS = 60 * 86_400 * 1000
MAX_DEAD = 10_000
MAX_APPEALS = 10_000
RETRIES = 4

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


class VerificationBook:
    """Methods raise StoreError."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._client: Any = store._client
        self._keys = store._keys

    async def read(self, account_id: str) -> Entry | None:
        """None for an account that is not stored."""
        with mapped():
            packed = await self._client.get(self._keys.subject(account_id))
            stored = await self._client.get(self._keys.verification(account_id))
        if packed is None:
            return None
        version, _, body = (stored or b"0\n").partition(b"\n")
        return Entry(split(packed), _record(body), version.decode(), packed)

    async def account_of(self, pseudonym: str) -> str | None:
        return await self._store.account_of(pseudonym)

    async def commit(self, entry: Entry, record: Record, subject: Subject | None = None) -> bool:
        """Write both on what was read; False when something has changed since then."""
        account_id = entry.subject.account_id
        look_us = next_look_us(record)
        if look_us is not None and look_us != next_look_us(entry.record):
            await self.schedule(account_id, look_us)
        changed = subject is not None and subject != entry.subject
        packed = pack(subject, over=entry.packed) if subject is not None and changed else b""
        with mapped():
            written = await self._client.eval(
                COMMIT_VERIFICATION.source,
                2,
                self._keys.subject(account_id),
                self._keys.verification(account_id),
                entry.record_version,
                b"" if record == EMPTY else _encode(record),
                RECORD_TTL_MS,
                entry.subject.version if changed else "",
                packed,
            )
        return bool(written)

    # ── proofs ───────────────────────────────────────────────────────────────────────────────

    async def claim(
        self, proof: str, account_id: str, *, most: int, now_us: int, until_us: int
    ) -> bool:
        """Take or prolong the account's place; False when `most` others have theirs."""
        with mapped():
            held = await self._client.eval(
                CLAIM_PROOF.source,
                1,
                self._keys.proof(proof),
                account_id,
                most,
                now_us // 1000,
                until_us // 1000,
            )
        return bool(held)

    async def give_up(self, proof: str, account_id: str) -> None:
        with mapped():
            await self._client.zrem(self._keys.proof(proof), account_id)

    async def holders(self, proof: str) -> list[str]:
        with mapped():
            held = await self._client.zrange(self._keys.proof(proof), 0, -1)
        return [account.decode() for account in held]

    # ── who is to be looked at ───────────────────────────────────────────────────────────────

    async def schedule(self, account_id: str, at_us: int) -> None:
        """Not later than `at_us`."""
        with mapped():
            await self._client.zadd(
                self._keys.verifications("due"), {account_id: at_us // 1000}, lt=True
            )

    async def due(self, now_us: int, *, most: int) -> list[tuple[str, int]]:
        """(account, instant in ms) whose time has come."""
        with mapped():
            found = await self._client.zrangebyscore(
                self._keys.verifications("due"),
                "-inf",
                now_us // 1000,
                start=0,
                num=most,
                withscores=True,
            )
        return [(account.decode(), int(at)) for account, at in found]

    async def reschedule(self, account_id: str, at_us: int | None) -> None:
        """After a look: the next one, or none."""
        name = self._keys.verifications("due")
        with mapped():
            if at_us is None:
                await self._client.zrem(name, account_id)
            else:
                await self._client.zadd(name, {account_id: at_us // 1000})

    # ── appeals, and news that could not be delivered ────────────────────────────────────────

    async def list_appeal(self, account_id: str, at_us: int) -> None:
        """Beyond `MAX_APPEALS` the oldest leaves the list; it stays in its account's record."""
        name = self._keys.verifications("appeals")
        with mapped():
            await self._client.zadd(name, {account_id: at_us // 1000})
            await self._client.zremrangebyrank(name, 0, -MAX_APPEALS - 1)

    async def unlist_appeal(self, account_id: str) -> None:
        with mapped():
            await self._client.zrem(self._keys.verifications("appeals"), account_id)

    async def appeals(self, *, most: int) -> list[str]:
        """Accounts whose appeal waits, the longest first."""
        with mapped():
            found = await self._client.zrange(self._keys.verifications("appeals"), 0, most - 1)
        return [account.decode() for account in found]

    async def appeal_count(self) -> int:
        with mapped():
            return int(await self._client.zcard(self._keys.verifications("appeals")))

    async def oldest_appeal_us(self) -> int | None:
        """When the appeal that has waited longest was written; None: none waits."""
        with mapped():
            found = await self._client.zrange(
                self._keys.verifications("appeals"), 0, 0, withscores=True
            )
        return int(found[0][1]) * 1000 if found else None

    async def bury(self, event_id: str, news: bytes) -> None:
        """Keep what could not be delivered; raises StoreError when there is too much of it."""
        with mapped():
            await self._client.hset(self._keys.verifications("dead"), event_id, news)

    async def dead(self, *, most: int) -> list[tuple[str, bytes]]:
        with mapped():
            found = await self._client.hgetall(self._keys.verifications("dead"))
        return [(name.decode(), news) for name, news in sorted(found.items())[:most]]

    async def dead_count(self) -> int:
        with mapped():
            return int(await self._client.hlen(self._keys.verifications("dead")))

    async def exhume(self, event_id: str) -> None:
        with mapped():
            await self._client.hdel(self._keys.verifications("dead"), event_id)


def _record(packed: bytes) -> Record:
    """What cannot be read is begun anew: a grant is never in it alone."""
    if not packed:
        return EMPTY
    try:
        return _decode(packed)
    except msgspec.MsgspecError:
        return EMPTY
