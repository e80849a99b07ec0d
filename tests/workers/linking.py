"""A small campaign as evidence, and linkers on a real store, for tests of the linker's process."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from hashlib import blake2b

from gateway.app import SystemClock
from gateway.linking.evidence import Key
from gateway.linking.linker import Evidence, Linker
from gateway.model import Subject
from gateway.stores import RedisStore, open_store
from gateway.workers.cluster_desk import ClusterDesk
from gateway.workers.linker import LinkerProcess, Pace

FAST = Pace(tick_s=0.05, snapshot_s=0.3, lease_s=1.0)
WAIT_S = 20.0
POOL = 40


def value(*parts: object) -> str:
    """16 hex digits, the same for the same parts."""
    return blake2b(":".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def campaign(
    size: int = POOL, *, at_us: int | None = None, name: str = "pool"
) -> Iterator[Evidence]:
    """`size` accounts with one template, bought in batches: a card for four, a /64 for five."""
    start_us = time.time_ns() // 1000 if at_us is None else at_us
    for n in range(size):
        keys = (
            Key("system_prompt", value(name, "prompt")),
            Key("payment", value(name, "card", n // 4)),
            Key("signup_network", value(name, "net", n // 5)),
            Key("mail_domain", value(name, "mail", n % 9)),
        )
        yield Evidence(f"{name}_{n}", start_us + n, keys, created_us=start_us - 10**12)


def bystanders(size: int = 400, *, at_us: int | None = None) -> Iterator[Evidence]:
    """Accounts that share nothing rare, so that the linker knows what is ordinary."""
    start_us = time.time_ns() // 1000 if at_us is None else at_us
    for n in range(size):
        keys = (
            Key("system_prompt", value("someone's prompt", n)),
            Key("payment", value("someone's card", n)),
            Key("signup_network", value("someone's net", n)),
        )
        yield Evidence(f"someone_{n}", start_us + n, keys, created_us=start_us - 10**12)


@contextlib.asynccontextmanager
async def opened(url: str, prefix: str | None = None) -> AsyncIterator[RedisStore]:
    """A store of the test's own."""
    store = await open_store(
        url,
        secret_fingerprint="0" * 16,
        prefix=prefix or f"t{secrets.token_hex(4)}:",
        timeout_s=5.0,
    )
    try:
        yield store
    finally:
        if prefix is None:
            await store.wipe()
        await store.aclose()


async def put_accounts(store: RedisStore, evidence: list[Evidence]) -> None:
    for one in evidence:
        await store.put(Subject(one.account_id), {})


class Running:
    """A linker's process on this loop; `stop` lets it save, `kill` does not."""

    def __init__(self, store: RedisStore, name: str = "one", pace: Pace = FAST) -> None:
        self.process = LinkerProcess(
            store,
            clock=SystemClock(),
            create=Linker,
            restore=Linker.restore,
            leader=name,
            pace=pace,
        )
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self.process.run(self._stopping))

    async def stop(self) -> None:
        self._stopping.set()
        await self._task

    async def kill(self) -> None:
        """As a crash leaves things: no snapshot; the lease stays until it lapses."""
        self.process._lease.give_back = _nothing  # type: ignore[method-assign]
        while not self._task.done():  # wait_for of Python 3.11 may swallow a cancellation
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.2)


async def _nothing() -> None:
    pass


@contextlib.asynccontextmanager
async def linker_on(store: RedisStore, pace: Pace = FAST) -> AsyncIterator[Running]:
    running = Running(store, pace=pace)
    try:
        yield running
    finally:
        await running.stop()


async def until(claim: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until it holds, at most `WAIT_S`."""
    deadline_s = time.monotonic() + WAIT_S
    while not await claim():
        assert time.monotonic() < deadline_s, f"{what} did not come true in {WAIT_S} s"
        await asyncio.sleep(0.02)


class AuditLines:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str, str, str]] = []

    def __call__(
        self, action: str, target: str, *, by: str, reason: str, outcome: str, order: str
    ) -> None:
        self.lines.append((action, target, by, reason, outcome))


def desk_on(
    store: RedisStore, audit: AuditLines | None = None, *, wait_s: float = 15
) -> ClusterDesk:
    return ClusterDesk(
        store,
        clock=SystemClock(),
        audit=audit or AuditLines(),
        question_s=wait_s,
        order_s=wait_s,
    )
