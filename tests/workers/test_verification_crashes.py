"""Gateway and store are killed at each call of each flow: no passed step is lost, nothing is
granted twice, the directory learns of each grant and of no other."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.adapters.verify.port import Offer
from gateway.core.keyed import KeyedHash
from gateway.errors import StoreError
from gateway.friction.mail_address import parse_address
from gateway.friction.record import Outcome
from gateway.friction.visit import Visit
from gateway.loadtests.servers.valkey import Server, server
from gateway.model import SECOND_US, Level, Policy, Subject
from gateway.stores import RedisStore, open_store
from gateway.stores.verification import VerificationBook
from gateway.workers.verification_desk import DeskTerms, VerificationDesk
from gateway.workers.verification_orders import VerificationOrders
from gateway.workers.verification_rounds import Receiver, VerificationRounds

from ..core.builders import policy
from .receiver import SECRET, Inbox, inbox

KEYED = KeyedHash(b"s" * 32)
CALLS = (
    *("read", "account_of", "commit", "claim", "give_up", "schedule", "due", "reschedule"),
    *("list_appeal", "unlist_appeal", "bury", "dead_count"),
)
MAX_POINTS = 60
TRIES = 200


class Death(BaseException):
    """The gateway's process is gone: nothing catches this but the test."""


@dataclass
class Blow:
    """What happens at the call of that number: `before` or `after` it took effect."""

    at: int
    when: str
    strike: Callable[[], None]
    seen: int = 0
    struck: list[str] = field(default_factory=list)


class MortalBook(VerificationBook):
    """The real book, which is struck once."""

    def __init__(self, store: RedisStore, blow: Blow) -> None:
        super().__init__(store)
        for name in CALLS:
            setattr(self, name, functools.partial(self._call, blow, getattr(self, name)))

    async def _call(
        self, blow: Blow, call: Callable[..., Awaitable[Any]], *args: Any, **kw: Any
    ) -> Any:
        number, blow.seen = blow.seen, blow.seen + 1
        is_hit = number == blow.at and not blow.struck
        if is_hit and blow.when == "before":
            blow.struck.append(call.__name__)
            blow.strike()
        answer = await call(*args, **kw)
        if is_hit and blow.when == "after":
            blow.struck.append(call.__name__)
            blow.strike()
        return answer


class WallClock:
    def now_us(self) -> int:
        return time.time_ns() // 1000


@dataclass
class World:
    store: RedisStore
    valkey: Server
    directory: Inbox
    blow: Blow
    account_id: str
    counted: list[tuple[Level, str]] = field(default_factory=list)

    def desk(self) -> VerificationDesk:
        """Of a gateway that has just been started."""
        return VerificationDesk(
            self.store,
            keyed=KEYED,
            clock=WallClock(),
            terms=DeskTerms(frozenset({Level.EMAIL, Level.IDENTITY}), codes_per_hour=1_000_000),
            policy=lambda: NO_POLICY,
            count=lambda level, outcome: self.counted.append((level, outcome)),
            book=MortalBook(self.store, self.blow),
        )

    def orders(self) -> VerificationOrders:
        book = MortalBook(self.store, self.blow)
        return VerificationOrders(
            book,
            clock=WallClock(),
            count=lambda level, outcome: self.counted.append((level, outcome)),
        )

    def rounds(self) -> VerificationRounds:
        return VerificationRounds(
            self.store,
            clock=WallClock(),
            receiver=Receiver(self.directory.url, SECRET, 3600 * SECOND_US, 5.0),
            count=lambda level, outcome: self.counted.append((level, outcome)),
            count_news=lambda outcome: None,
            book=MortalBook(self.store, self.blow),
        )

    async def insist(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """As people and providers do: once more, until there is an answer."""
        for _ in range(TRIES):
            try:
                return await step()
            except Death:
                continue
            except StoreError:
                if not self.is_store_up():
                    self.valkey.start()
                await asyncio.sleep(0.02)
            except BaseExceptionGroup as group:
                if not group.subgroup((Death, StoreError)):
                    raise
        raise AssertionError("it never came through")

    def is_store_up(self) -> bool:
        return self.valkey._process is not None

    async def visit(self, desk: VerificationDesk, level: Level) -> Visit:
        subject = await self.store.get(self.account_id)
        token = desk.token_for(subject, level, "rule")
        assert token is not None
        seen = await desk.visit(token)
        assert seen is not None
        return seen


NO_POLICY: Policy = policy()


async def pass_by_mail(world: World) -> None:
    async def code() -> str:
        desk = world.desk()
        visit = await world.visit(desk, Level.EMAIL)
        await desk.start(visit)
        visit = await world.visit(desk, Level.EMAIL)
        address = parse_address(f"{world.account_id}@example.org")
        offer = await desk.offer_mail_code(visit, address, world.account_id)
        assert isinstance(offer, Offer), offer
        return offer.code

    async def enter(given: str) -> None:
        desk = world.desk()
        visit = await world.visit(desk, Level.EMAIL)
        if visit.steps:
            outcome = await desk.enter_mail_code(visit, given, world.account_id)
            assert outcome is Outcome.PASSED, outcome

    given = await world.insist(code)
    await world.insist(lambda: enter(given))


async def pass_by_provider(world: World) -> None:
    async def start() -> str:
        desk = world.desk()
        session = await desk.open_session(
            await world.visit(desk, Level.IDENTITY), Level.IDENTITY, "idcheck"
        )
        assert isinstance(session, str), session
        return session

    async def tell(session: str) -> None:
        outcome = await world.desk().settle_session(
            session,
            provider="idcheck",
            level=Level.IDENTITY,
            has_passed=True,
            fingerprint=world.account_id,
        )
        assert outcome in (Outcome.PASSED, Outcome.DUPLICATE), outcome

    session = await world.insist(start)
    await world.insist(lambda: tell(session))
    await world.insist(lambda: tell(session))  # providers tell more than once


async def pass_and_lose(world: World) -> None:
    await pass_by_mail(world)
    await world.insist(lambda: world.orders().revoke(world.account_id, Level.EMAIL, event_id="r1"))


async def appeal(world: World) -> None:
    async def write() -> None:
        desk = world.desk()
        assert await desk.appeal(await world.visit(desk, Level.EMAIL), "It is me.") is None

    await world.insist(write)
    await world.insist(lambda: world.orders().answer_appeal(world.account_id, "Welcome back."))


@dataclass(frozen=True)
class Flow:
    run: Callable[[World], Awaitable[None]]
    granted: tuple[Level, ...]
    told: dict[str, int]
    counted: dict[str, int]


FLOWS = {
    "mail": Flow(pass_by_mail, (Level.EMAIL,), {"verification.granted": 1}, {"passed": 1}),
    "provider": Flow(
        pass_by_provider, (Level.IDENTITY,), {"verification.granted": 1}, {"passed": 1}
    ),
    "revoked": Flow(
        pass_and_lose,
        (),
        {"verification.granted": 1, "verification.revoked": 1},
        {"passed": 1, "revoked": 1},
    ),
    "appeal": Flow(appeal, (), {}, {"appealed": 1}),
}


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What it has answered is on the disk."""
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with server(tmp_path_factory.mktemp("durable"), *options) as one:
        yield one


@pytest.fixture(scope="module")
def directory() -> Iterator[Inbox]:
    with inbox() as one:
        yield one


_numbers = itertools.count()


async def run_struck(
    flow: Flow, at: int, when: str, who: str, durable: Server, directory: Inbox
) -> list[str]:
    """The call that was struck; [] when the flow was over before it came to that."""

    def strike() -> None:
        if who == "store":
            durable.stop()
            if when == "after":
                raise StoreError("unreachable", "killed before its answer was heard")
            return
        raise Death

    store = await open_store(durable.url, secret_fingerprint=KEYED.fingerprint(), timeout_s=2.0)
    try:
        account_id = f"acc_{next(_numbers)}"
        await store.put(Subject(account_id), {})
        world = World(store, durable, directory, Blow(at, when, strike), account_id)
        await flow.run(world)
        for _ in range(3):
            await world.insist(lambda: world.rounds().round())
        if not world.is_store_up():
            durable.start()
        await check(flow, world)
        return world.blow.struck
    finally:
        if not durable._process:
            durable.start()
        await store.aclose()


async def check(flow: Flow, world: World) -> None:
    entry = await VerificationBook(world.store).read(world.account_id)
    assert entry is not None
    assert tuple(grant.level for grant in entry.subject.grants) == flow.granted
    assert entry.record.outbox == ()
    assert entry.record.holds == ()
    told: dict[str, int] = {}
    for news in world.directory.of(world.account_id).values():
        told[news["event"]] = told.get(news["event"], 0) + 1
    assert told == flow.told
    for proof in entry.subject.proofs:
        assert await VerificationBook(world.store).holders(proof) == [world.account_id]
    # What was counted by a process that died before it could say so may be missing, never double.
    for outcome, most in flow.counted.items():
        assert sum(1 for _, said in world.counted if said == outcome) <= most
    if flow.run is appeal:
        assert entry.record.appeal is not None
        assert entry.record.appeal.answer == "Welcome back."
        assert world.account_id not in await VerificationBook(world.store).appeals(most=1000)


@pytest.mark.parametrize("who", ["gateway", "store"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", FLOWS)
async def test_a_death_at_any_call_loses_no_step_and_grants_nothing_twice(
    name: str, when: str, who: str, durable: Server, directory: Inbox
) -> None:
    struck: list[str] = []
    for at in range(MAX_POINTS):
        hit = await run_struck(FLOWS[name], at, when, who, durable, directory)
        if not hit:
            break
        struck += hit
    else:
        raise AssertionError("the flow has more calls than were tried")
    assert {"read", "commit"} <= set(struck)
    assert directory.forged == 0
