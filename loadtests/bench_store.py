"""What a decision costs at the store: CPU of the gateway, and bytes kept per account.

Run: python -m hydragate.loadtests.bench_store. Starts an embedded Valkey; a decision is one
charge that validates the account and steps three GCRA limits. CPU is this process's own, per
decision; the server's is beside it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import redis.asyncio as redis_client
import uvloop

from ..core.gcra import increment_us, tolerance_us
from ..model import SECOND_US, Charge, Effect, Quota, Step, StepKind, Subject
from ..stores import RedisStore, open_store
from ..stores.embedded import EmbeddedStore
from ..stores.keys import Keys
from ..stores.memory import MemoryStore
from ..stores.scripts import CHARGE

PREFIX = "bench:"
CONCURRENCY = (1, 8, 32)
ROUNDS = 7
ROUND_DECISIONS = 2_000
ACCOUNTS = 500
QUOTA = Quota(1_000_000, 60 * SECOND_US, 1_000_000)

Decide = Callable[[Charge], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians per decision over `ROUNDS`."""

    cpu_us: float
    server_cpu_us: float
    wall_us: float


def steps_of(account_id: str, count: int) -> tuple[Step, ...]:
    amount, tolerance = increment_us(1, QUOTA), tolerance_us(QUOTA)
    return tuple(
        Step(
            *(f"a:{account_id}", f"limit-{n}", StepKind.GCRA, Effect.ENFORCE),
            *(amount, tolerance, tolerance),
        )
        for n in range(count)
    )


def charges_of(subject: Subject, count: int) -> list[Charge]:
    steps = steps_of(subject.account_id, 3)
    return [Charge(f"{n:026}", subject.account_id, subject.version, steps) for n in range(count)]


async def measure(decide: Decide, charges: list[Charge], concurrency: int, server: int) -> Cost:
    """CPU and wall time per decision, `concurrency` callers each with one decision in flight."""
    samples: list[tuple[float, float, float]] = []
    for _ in range(ROUNDS + 1):
        queue = iter(charges)

        async def caller(queue: Any = queue) -> None:
            for charge in queue:
                await decide(charge)

        before = time.process_time(), cpu_s(server), time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(concurrency)))
        after = time.process_time(), cpu_s(server), time.perf_counter()
        samples.append(
            tuple((b - a) / len(charges) * 1e6 for a, b in zip(before, after, strict=True))  # type: ignore[arg-type]
        )
    own, servers, wall = zip(*samples[1:], strict=True)
    return Cost(median(own), median(servers), median(wall))


def cpu_s(pid: int) -> float:
    """User and system time of a process; 0 where /proc does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def through_a_pool(client: Any) -> Decide:
    """The same script by redis-py's pool, one call and one connection per decision."""
    keys = Keys(PREFIX)
    sha = CHARGE.sha

    async def decide(charge: Charge) -> Any:
        names = [keys.mode, keys.subject(charge.account_id or "")]
        args: list[Any] = [0, 1, 1, charge.version, charge.lease_id, len(charge.steps)]
        for step in charge.steps:
            names.append(keys.counters(step.tag, is_shadow=step.effect.is_shadow))
            args += (step.kind, step.effect, step.field, step.amount, step.ceiling, step.ttl_us)
        return await client.evalsha(sha, len(names), *names, *args)

    return decide


async def bytes_per_account(store: RedisStore, client: Any) -> float:
    """Of an account with one key and five limits that has been charged."""
    before = await used_bytes(client)
    for n in range(ACCOUNTS):
        account_id = f"acc_{n:012}"
        subject = await store.put(
            Subject(account_id, org_id="org_1", tier="start", created_us=1, email_domain="a.org"),
            {f"{n:032x}": f"key_{n:012}"},
        )
        await store.charge(Charge(f"{n:026}", account_id, subject.version, steps_of(account_id, 5)))
    return (await used_bytes(client) - before) / ACCOUNTS


async def used_bytes(client: Any) -> int:
    """MEMORY USAGE of every key under the prefix."""
    total = 0
    async for name in client.scan_iter(match=f"{PREFIX}*", count=1000):
        total += await client.memory_usage(name, samples=0)
    return total


def memory_store_us() -> float:
    """A charge of three steps against the memory store, run without a loop."""
    clock = itertools.count(1_800_000_000 * SECOND_US, 1000)
    store = MemoryStore(lambda: next(clock))
    subject = _run(store.put(Subject("acc_1"), None))
    charges = charges_of(subject, 10_000)
    samples = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for charge in charges:
            _run(store.charge(charge))
        samples.append((time.perf_counter() - started) / len(charges) * 1e6)
    return median(samples)


def _run(coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the memory store never suspends")


async def run() -> None:
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedStore(Path(folder))
        async with embedded as url:
            store = await open_store(url, secret_fingerprint="0", prefix=PREFIX, timeout_s=5.0)
            client: Any = redis_client.Redis(unix_socket_path=url.removeprefix("unix://"))
            try:
                await report(store, client, embedded.pid or 0)
            finally:
                await client.aclose()
                await store.aclose()


async def report(store: RedisStore, client: Any, server: int) -> None:
    print("us per decision: 3 GCRA steps, account validated, kill switch read")
    print(f"{'':34}{'own CPU':>9}{'server':>9}{'wall':>9}")
    subject = await store.put(Subject("acc_1"), None)
    charges = charges_of(subject, ROUND_DECISIONS)
    ways: dict[str, Decide] = {
        "multiplexed": store.charge,
        "redis-py pool": through_a_pool(client),
    }
    for concurrency in CONCURRENCY:
        for name, decide in ways.items():
            cost = await measure(decide, charges, concurrency, server)
            print(
                f"{name + f', {concurrency} at a time':34}"
                f"{cost.cpu_us:9.1f}{cost.server_cpu_us:9.1f}{cost.wall_us:9.1f}"
            )
    print(f"{'memory store':34}{memory_store_us():9.1f}")
    kept = await bytes_per_account(store, client)
    print(f"bytes in the store per account with one key and five limits: {kept:.0f}")


def main() -> None:
    uvloop.run(run())


if __name__ == "__main__":
    main()
