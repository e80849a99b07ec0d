"""The rounds of one gateway: tell the directory, make places lasting, notice who gave up.

One process of all gateways makes them (a lease). Law: news is told at least once, in order for
each account, and is forgotten only when the receiver has said 2xx or it lies with the dead; a crash
at any point leaves it where the next round finds it.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import msgspec

from ..errors import StoreError
from ..friction.ladder import held_level
from ..friction.news import failed, news_of, signed, wait_us, without
from ..friction.record import CLEAN_US, EMPTY, Record, abandoned, next_look_us
from ..friction.visit import Entry
from ..model import SECOND_US, Level, Status, Subject
from ..ports import Clock
from ..stores import RedisStore
from ..stores.lease import Lease
from ..stores.verification import MAX_DEAD, VerificationBook

log = logging.getLogger("hydragate.verify")

ROUND_S = 1.0
LEASE_S = 15.0
MAX_PER_ROUND = 64
RETELL_US = 30 * SECOND_US  # in one call of an operator's
AT_ONCE = 8
TAINTED_STATES = ("suspected", "confirmed")
Count = Callable[[Level, str], None]
_replace = msgspec.structs.replace


@dataclass(frozen=True, slots=True)
class Receiver:
    """The platform's directory."""

    url: str
    secret: bytes
    give_up_us: int
    timeout_s: float


class VerificationRounds:
    """`receiver` None: nobody is told, and no news is kept."""

    def __init__(
        self,
        store: RedisStore,
        *,
        clock: Clock,
        receiver: Receiver | None,
        count: Count,
        count_news: Callable[[str], None],
        book: VerificationBook | None = None,
    ) -> None:
        self._book = book or VerificationBook(store)
        self._lease = Lease(store, "verification-rounds", lease_s=LEASE_S)
        self._clock = clock
        self._receiver = receiver
        self._count = count
        self._count_news = count_news
        self._is_receiver_away = False  # as this round has found it

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await asyncio.sleep(ROUND_S)
                try:
                    if await self._lease.hold():
                        await self.round()
                except StoreError as error:
                    log.warning("verifications wait: %s", error)
        finally:
            try:
                async with asyncio.timeout(1.0):
                    await self._lease.give_back()
            except (StoreError, TimeoutError):
                pass  # it lapses

    async def round(self) -> int:
        """Look at whoever is due; how many that were. Raises StoreError."""
        self._is_receiver_away = False
        due = await self._book.due(self._clock.now_us(), most=MAX_PER_ROUND)
        gate = asyncio.Semaphore(AT_ONCE)

        async def look(account_id: str) -> None:
            async with gate:
                await self.look_at(account_id)

        async with asyncio.TaskGroup() as group:
            for account_id, _ in due:
                group.create_task(look(account_id))
        return len(due)

    async def look_at(self, account_id: str) -> None:
        """Everything that can be done for one account now, and when to look again."""
        entry = await self._book.read(account_id)
        if entry is None:
            await self._book.reschedule(account_id, None)
            return
        record = await self._hold(account_id, entry.record)
        record, retry_us = await self._tell(account_id, record)
        record = self._watch(entry.subject, record)
        if record != entry.record and not await self._book.commit(entry, record):
            return  # it has changed meanwhile and is still due: the next round sees both
        self._count_looked(entry, record)
        look_us = next_look_us(record) if retry_us is None else retry_us
        await self._book.reschedule(account_id, look_us)
        again = await self._book.read(account_id)  # what was written since the commit
        if again is not None and again.record != record:
            await self._book.schedule(account_id, self._clock.now_us())

    async def _hold(self, account_id: str, record: Record) -> Record:
        """Make reserved places last as long as the grants that they were reserved for."""
        for hold in record.holds:
            if hold.until_us is None:
                await self._book.give_up(hold.proof, account_id)
                continue
            now_us = self._clock.now_us()
            await self._book.claim(
                hold.proof, account_id, most=1 << 30, now_us=now_us, until_us=hold.until_us
            )
        return _replace(record, holds=()) if record.holds else record

    async def _tell(self, account_id: str, record: Record) -> tuple[Record, int | None]:
        """(the record with what is told gone, when to go on telling)."""
        receiver = self._receiver
        if receiver is None:
            return (_replace(record, outbox=()) if record.outbox else record), None
        for event in record.outbox:
            if self._is_receiver_away:  # one attempt is enough: the lease outlasts no more
                return record, self._clock.now_us() + wait_us(event.attempts)
            body = news_of(account_id, event)
            came_to = await self._post(receiver, body)
            if came_to is Told.YES:
                self._count_news("delivered")
                record = without(record, event.id)
                continue
            now_us = self._clock.now_us()
            self._is_receiver_away |= came_to is Told.AWAY
            if now_us - event.at_us < receiver.give_up_us:
                self._count_news("retried")
                return failed(record, event.id), now_us + wait_us(event.attempts)
            if await self._book.dead_count() >= MAX_DEAD:
                return record, now_us + wait_us(event.attempts)
            await self._book.bury(event.id, body)
            self._count_news("dead")
            log.error("the directory was not told: see hydragate verifications dead")
            record = without(record, event.id)
        return record, None

    async def _post(self, receiver: Receiver, body: bytes) -> Told:
        headers = signed(body, receiver.secret, self._clock.now_us() // SECOND_US)
        return await asyncio.to_thread(post, receiver, body, headers)

    def _watch(self, subject: Subject, record: Record) -> Record:
        """Notice who gave up, and after a week whether who passed stayed clean."""
        now_us = self._clock.now_us()
        given_up = abandoned(record, now_us)
        record = record if given_up is None else given_up
        if record.passed_us is not None and now_us - record.passed_us >= CLEAN_US:
            record = _replace(record, passed_us=None)
        return _forgettable(record)

    def _count_looked(self, entry: Entry, record: Record) -> None:
        """After the commit, so that nobody is counted twice."""
        before, subject = entry.record, entry.subject
        if before.started_us is not None and record.started_us is None:
            self._count(Level(before.level), "abandoned")
        if before.passed_us is not None and record.passed_us is None:
            tainted = subject.status is Status.BANNED or subject.cluster_state in TAINTED_STATES
            level = held_level(subject, self._clock.now_us())
            self._count(level, "tainted" if tainted else "clean")

    async def retell_dead(self) -> int:
        """One more attempt at the news that was given up on; how many were told. What the receiver
        refuses stays and keeps none from being told; when it is away the rest is not tried."""
        told, receiver = 0, self._receiver
        if receiver is None:
            return 0
        until_us = self._clock.now_us() + RETELL_US
        for event_id, body in await self._book.dead(most=MAX_DEAD):
            came_to = await self._post(receiver, body)
            if came_to is Told.YES:
                await self._book.exhume(event_id)
                self._count_news("delivered")
                told += 1
            if came_to is Told.AWAY or self._clock.now_us() > until_us:
                break
        return told


def _forgettable(record: Record) -> Record:
    """A record with nothing left to do, to tell and to refuse again is the empty one."""
    is_idle = (
        record.started_us is None
        and record.passed_us is None
        and record.appeal is None
        and not (record.outbox or record.holds or record.sessions or record.taken)
    )
    return EMPTY if is_idle and record.code is None else record


class Told(Enum):
    """What came of telling: `NO` is an answer other than 2xx, `AWAY` none."""

    YES = "yes"
    NO = "no"
    AWAY = "away"


def post(receiver: Receiver, body: bytes, headers: dict[str, str]) -> Told:
    """The receiver is not followed elsewhere."""
    request = urllib.request.Request(receiver.url, body, headers, method="POST")  # noqa: S310
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=receiver.timeout_s) as answer:
            return Told.YES if 200 <= answer.status < 300 else Told.NO
    except urllib.error.HTTPError as error:
        log.warning("the directory does not take news: status %d", error.code)
        error.close()
        return Told.NO
    except (OSError, ValueError, http.client.HTTPException) as error:
        log.warning("the directory does not take news: %s", type(error).__name__)
        return Told.AWAY


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None
