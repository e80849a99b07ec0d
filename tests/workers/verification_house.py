"""A desk, its rounds and a directory on a real store, with a clock that is set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

import pytest

from gateway.adapters.verify.port import Offer
from gateway.core.keyed import KeyedHash
from gateway.friction.mail_address import parse_address
from gateway.friction.record import Outcome
from gateway.friction.visit import Visit
from gateway.loadtests.servers.valkey import Server
from gateway.model import SECOND_US, Ask, Level, Subject
from gateway.stores import RedisStore, open_store
from gateway.stores.verification import VerificationBook
from gateway.workers.verification_desk import DeskTerms, VerificationDesk
from gateway.workers.verification_orders import VerificationOrders
from gateway.workers.verification_rounds import Receiver, VerificationRounds

from ..core.builders import policy
from .receiver import SECRET, Inbox, inbox

KEYED = KeyedHash(b"s" * 32)
HOUR_US = 3600 * SECOND_US


@dataclass
class Clock:
    us: int = 1_800_000_000 * SECOND_US

    def now_us(self) -> int:
        return self.us


@dataclass
class House:
    store: RedisStore
    inbox: Inbox
    clock: Clock = field(default_factory=Clock)
    counted: list[tuple[str, str]] = field(default_factory=list)
    news: list[str] = field(default_factory=list)
    asks: tuple[Ask, ...] = ()

    def count(self, level: Level, outcome: str) -> None:
        self.counted.append((level.name.lower(), outcome))

    @property
    def desk(self) -> VerificationDesk:
        return VerificationDesk(
            self.store,
            keyed=KEYED,
            clock=self.clock,
            terms=DeskTerms(frozenset({Level.EMAIL, Level.PAYMENT}), codes_per_hour=1_000_000),
            policy=lambda: replace(policy(), asks={ask.rule: ask for ask in self.asks}),
            count=self.count,
        )

    @property
    def orders(self) -> VerificationOrders:
        return VerificationOrders(VerificationBook(self.store), clock=self.clock, count=self.count)

    @property
    def rounds(self) -> VerificationRounds:
        return VerificationRounds(
            self.store,
            clock=self.clock,
            receiver=Receiver(self.inbox.url, SECRET, 2 * HOUR_US, 5.0),
            count=self.count,
            count_news=self.news.append,
        )

    async def start(self, account_id: str, level: Level = Level.EMAIL) -> str:
        """The page of a new account has been opened; its token."""
        subject = await self.store.put(Subject(account_id), {})
        token = self.desk.token_for(subject, level, "rule")
        assert token is not None
        visit = await self.desk.visit(token)
        assert visit is not None
        await self.desk.start(visit)
        return token

    async def visit(self, token: str) -> Visit:
        seen = await self.desk.visit(token)
        assert seen is not None
        return seen

    async def pass_mail(self, account_id: str) -> None:
        token = await self.start(account_id)
        visit = await self.desk.visit(token)
        assert visit is not None
        address = parse_address(f"{account_id}@example.org")
        offer = await self.desk.offer_mail_code(visit, address, account_id)
        assert isinstance(offer, Offer)
        visit = await self.desk.visit(token)
        assert visit is not None
        assert await self.desk.enter_mail_code(visit, offer.code, account_id) is Outcome.PASSED


@pytest.fixture
def directory() -> Iterator[Inbox]:
    with inbox() as one:
        yield one


@pytest.fixture
async def house(valkey: Server, directory: Inbox) -> AsyncIterator[House]:
    store = await open_store(
        valkey.url,
        secret_fingerprint=KEYED.fingerprint(),
        prefix=f"vr{id(directory)}:",
        timeout_s=2.0,
    )
    try:
        yield House(store, directory)
    finally:
        await store.wipe()
        await store.aclose()
