"""News for the directory, places that last, and who gave up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

import pytest

from gateway.adapters.verify.port import Offer
from gateway.core.keyed import KeyedHash
from gateway.friction.mail_address import parse_address
from gateway.friction.record import ABANDONED_US, CLEAN_US, EMPTY, Outcome
from gateway.model import SECOND_US, Level, Subject
from gateway.stores import RedisStore, open_store
from gateway.stores.verification import VerificationBook
from gateway.workers.verification_desk import DeskTerms, VerificationDesk
from gateway.workers.verification_rounds import Receiver, VerificationRounds

from ..core.builders import policy
from ..stores.servers import Server
from .receiver import SECRET, Inbox, inbox

KEYED = KeyedHash(b"s" * 32)
HOUR_US = 3600 * SECOND_US


@pytest.fixture
def directory() -> Iterator[Inbox]:
    with inbox() as one:
        yield one


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

    def count(self, level: Level, outcome: str) -> None:
        self.counted.append((level.name.lower(), outcome))

    @property
    def desk(self) -> VerificationDesk:
        return VerificationDesk(
            self.store,
            keyed=KEYED,
            clock=self.clock,
            terms=DeskTerms(frozenset({Level.EMAIL}), codes_per_hour=1_000_000),
            policy=policy,
            count=self.count,
        )

    @property
    def rounds(self) -> VerificationRounds:
        return VerificationRounds(
            self.store,
            clock=self.clock,
            receiver=Receiver(self.inbox.url, SECRET, 2 * HOUR_US, 5.0),
            count=self.count,
            count_news=self.news.append,
        )

    async def start(self, account_id: str) -> str:
        """The page of a new account has been opened; its token."""
        subject = await self.store.put(Subject(account_id), {})
        token = self.desk.token_for(subject, Level.EMAIL, "rule")
        assert token is not None
        visit = await self.desk.visit(token)
        assert visit is not None
        await self.desk.start(visit)
        return token

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


async def test_nothing_is_lost_while_the_receiver_is_down(house: House) -> None:
    house.inbox.is_down = True
    for number in range(5):
        await house.pass_mail(f"acc_{number}")
    for _ in range(4):
        await house.rounds.round()
        house.clock.us += 60 * SECOND_US
    assert house.inbox.told == []
    assert set(house.news) == {"retried"}
    house.inbox.is_down = False
    house.clock.us += HOUR_US
    await house.rounds.round()
    assert sorted(news["account_id"] for news in house.inbox.told) == [
        f"acc_{number}" for number in range(5)
    ]
    assert {news["event"] for news in house.inbox.told} == {"verification.granted"}
    house.clock.us += HOUR_US
    await house.rounds.round()
    assert len(house.inbox.told) == 5


async def test_waits_grow_between_attempts(house: House) -> None:
    house.inbox.is_down = True
    await house.pass_mail("acc_1")
    attempts = []
    for second in range(0, 200):
        before = len(house.news)
        await house.rounds.round()
        if len(house.news) > before:
            attempts.append(second)
        house.clock.us += SECOND_US
    assert attempts == [0, 5, 15, 35, 75, 155]


async def test_what_is_given_up_on_lies_with_the_dead_until_it_is_told(house: House) -> None:
    house.inbox.is_down = True
    await house.pass_mail("acc_1")
    house.clock.us += 3 * HOUR_US
    await house.rounds.round()
    book = VerificationBook(house.store)
    (event_id, _), *others = await book.dead(most=10)
    assert others == []
    assert not await house.rounds.redeliver(event_id)
    house.inbox.is_down = False
    assert await house.rounds.redeliver(event_id)
    assert await book.dead_count() == 0
    assert [news["id"] for news in house.inbox.told] == [event_id]


async def test_who_gives_up_is_counted_once_and_forgotten(house: House) -> None:
    await house.start("acc_1")
    house.clock.us += ABANDONED_US + SECOND_US
    for _ in range(3):
        await house.rounds.round()
    assert house.counted == [("email", "started"), ("email", "abandoned")]
    entry = await VerificationBook(house.store).read("acc_1")
    assert entry is not None
    assert entry.record == EMPTY


@pytest.mark.parametrize(
    ("state", "outcome"), [(None, "clean"), ("confirmed", "tainted"), ("watched", "clean")]
)
async def test_a_week_later_one_looks_whether_who_passed_stayed_clean(
    house: House, state: str | None, outcome: str
) -> None:
    await house.pass_mail("acc_1")
    await house.rounds.round()
    stored = await house.store.get("acc_1")
    assert stored is not None
    await house.store.put(replace(stored, cluster_id="c", cluster_state=state), None)
    house.clock.us += CLEAN_US
    for _ in range(2):
        await house.rounds.round()
    assert [said for _, said in house.counted if said in ("clean", "tainted")] == [outcome]


async def test_ten_thousand_pending_verifications_take_under_ten_megabytes(house: House) -> None:
    before = int((await house.store._client.info("memory"))["used_memory"])
    book = VerificationBook(house.store)
    for number in range(500):
        account_id = f"acc_pending_{number:05d}"
        token = await house.start(account_id)
        visit = await house.desk.visit(token)
        assert visit is not None
        address = parse_address(f"somebody.of.length{number}@mail.example.org")
        offer = await house.desk.offer_mail_code(visit, address, f"{number:032x}")
        assert isinstance(offer, Offer)
    entry = await book.read("acc_pending_00499")
    assert entry is not None
    assert entry.record.code is not None
    with_everything = (await house.store._client.info("memory"))["used_memory"] - before
    bare = 0
    for number in range(500):
        bare += int(
            await house.store._client.memory_usage(
                house.store._keys.subject(f"acc_pending_{number:05d}")
            )
        )
    per_pending = (with_everything - bare) / 500
    assert per_pending * 10_000 < 10_000_000, per_pending
    print(f"{per_pending:.0f} bytes a pending verification, brakes included")
