"""What operators do to verifications: grants by hand or from an export, and taken back; answers."""

from __future__ import annotations

from typing import Any

from ..errors import StoreError
from ..friction.exports import read_export, restored
from ..friction.record import answered, granted, revoked
from ..model import Grant, Level
from ..ports import Clock
from ..stores.verification import RETRIES, VerificationBook
from .verification_desk import DEFAULT_EXPIRES_US, Count


class VerificationOrders:
    """One process's. Methods raise StoreError where the store fails: nothing was done then that
    cannot be done again."""

    def __init__(self, book: VerificationBook, *, clock: Clock, count: Count) -> None:
        self.book = book
        self._clock = clock
        self._count = count

    async def grant(
        self, account_id: str, level: Level, *, expires_us: int | None, event_id: str
    ) -> bool:
        """By an operator; False for an unknown account."""
        for _ in range(RETRIES):
            entry = await self.book.read(account_id)
            if entry is None:
                return False
            grant = Grant(level, self._clock.now_us(), expires_us)
            record, subject = granted(
                entry.record, entry.subject, grant, proof=None, event_id=event_id
            )
            if await self.book.commit(entry, record, subject):
                self._count(level, "granted_by_hand")
                return True
        raise StoreError("conflict", "the account keeps changing")

    async def import_grants(self, line: dict[str, Any]) -> int:
        """Of one line of an export: how many grants the account had not got. Raises ValueError
        that says what is wrong with the line."""
        account_id, grants, proofs = read_export(line, self._clock.now_us())
        for _ in range(RETRIES):
            entry = await self.book.read(account_id)
            if entry is None:
                raise ValueError(f"no such account: {account_id}")
            missing = [one for one in grants if one not in entry.subject.grants]
            subject = restored(entry.subject, missing, proofs)
            for proof in proofs:
                await self._restore_place(proof, account_id)
            if subject == entry.subject:
                return 0
            if await self.book.commit(entry, entry.record, subject):
                return len(missing)
        raise StoreError("conflict", "the account keeps changing")

    async def _restore_place(self, proof: str, account_id: str) -> None:
        now_us = self._clock.now_us()
        await self.book.claim(
            proof, account_id, most=1 << 30, now_us=now_us, until_us=now_us + DEFAULT_EXPIRES_US
        )

    async def revoke(self, account_id: str, level: Level, *, event_id: str) -> bool:
        """False where there is nothing to take back."""
        for _ in range(RETRIES):
            entry = await self.book.read(account_id)
            if entry is None or all(one.level is not level for one in entry.subject.grants):
                return False
            record, subject = revoked(
                entry.record,
                entry.subject,
                level,
                event_id=event_id,
                now_us=self._clock.now_us(),
            )
            if await self.book.commit(entry, record, subject):
                self._count(level, "revoked")
                return True
        raise StoreError("conflict", "the account keeps changing")

    async def answer_appeal(self, account_id: str, answer: str) -> bool:
        """False where nobody has appealed."""
        for _ in range(RETRIES):
            entry = await self.book.read(account_id)
            if entry is None or entry.record.appeal is None:
                await self.book.unlist_appeal(account_id)
                return False
            record = answered(entry.record, answer, self._clock.now_us())
            if await self.book.commit(entry, record):
                await self.book.unlist_appeal(account_id)
                return True
        raise StoreError("conflict", "the account keeps changing")
