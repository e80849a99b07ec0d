"""What accounts' windows cost: CPU of a request, of the store, and bytes an account.

Run: python -m hydragate.loadtests.bench_windows. Starts an embedded Valkey; a request is a decision
and its settlement, under a policy of two limits whose estimates are always corrected. The ways are
measured in turn, round by round, so that a busy machine is busy for all of them. `published` is
the design that was not taken: the linker counts and writes the account anew, so that the next
request of every worker has to ask again.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import redis.asyncio as redis_client
import uvloop

from ..app import SystemClock
from ..classifiers.load import ModelHolder
from ..classifiers.reader import TaskReader
from ..core.keyed import KeyedHash
from ..core.window import SIGHTING, WINDOW_BYTES
from ..engine import Engine
from ..model import (
    SECOND_US,
    Cost,
    Limit,
    Mode,
    OnStoreError,
    Outcome,
    Policy,
    Quota,
    RequestFacts,
    Settlement,
    Sighting,
    Subject,
    Usage,
)
from ..observe.ids import DecisionIds
from ..signals import all_signals
from ..stores import RedisStore, open_store
from ..stores.embedded import EmbeddedStore
from .bench_store import cpu_s

PREFIX = "bench:"
ACCOUNTS = 500
CONCURRENCY = 32
ROUNDS = 9
ROUND_REQUESTS = 4_000
MANY_ACCOUNTS = 20_000
QUOTA = Quota(1_000_000_000, 60 * SECOND_US, 1_000_000_000)
FEW = ("requests_24h", "distinct_networks_24h", "active_hours_24h")
FACTS = RequestFacts(
    *("", 0, "proxy", "POST", "/v1/chat/completions", "openai.chat_completions", "openai", True),
    client_network="0" * 32,
    country="DE",
    network_class="hosting",
    user_agent="OpenAI/Python 2.0.0",
    model="model-1",
    stream=True,
    body_bytes=1_500,
    max_output_tokens=500,
    temperature=0.2,
    end_user="1" * 32,
    estimated_input_tokens=300,
    estimated_output_tokens=200,
)


class Fixed:
    def __init__(self, current: Policy) -> None:
        self.current = current


def limit_of(name: str, cost: Cost) -> Limit:
    return Limit(
        *(name, "a benchmark", Mode.ENFORCE, cost, "a", 0, (), QUOTA, {}, None),
        OnStoreError.ALLOW,
        "",
    )


def policy_of(*signals: str) -> Policy:
    names = ("account_id", *signals)
    return Policy(
        *("bench", "0" * 12, tuple([all_signals()[name] for name in names]), ()),
        (limit_of("requests", Cost.REQUESTS), limit_of("tokens", Cost.TOTAL_TOKENS)),
        *((), False, OnStoreError.ALLOW),
    )


@dataclass(slots=True)
class Way:
    name: str
    engine: Engine
    own_us: list[float]
    server_us: list[float]
    before: Callable[[int], Any] | None = None


def windowed_names() -> list[str]:
    return [name for name, spec in all_signals().items() if spec.needs == "window"]


def ways_of(store: RedisStore) -> list[Way]:
    keyed = KeyedHash(b"a secret for benchmarks only")

    def engine(policy: Policy, *, keeps: bool = False) -> Engine:
        return Engine(
            store=store,
            policies=Fixed(policy),
            clock=SystemClock(),
            ids=DecisionIds(),
            keyed=keyed,
            keeps_windows=keeps,
            tasks=TaskReader(ModelHolder()),
        )

    plain, names = policy_of(), windowed_names()
    published = Way("published by the linker, each time", engine(plain), [], [])
    published.before = lambda n: republish(store, f"acc_{n % ACCOUNTS}")
    return [
        Way("no windows", engine(plain), [], []),
        Way("kept", engine(plain, keeps=True), [], []),
        Way(f"kept, {len(FEW)} signals named", engine(policy_of(*FEW)), [], []),
        Way(f"kept, all {len(names)} signals named", engine(policy_of(*names)), [], []),
        Way("kept, the score of the account named", engine(policy_of("collecting")), [], []),
        published,
    ]


async def republish(store: RedisStore, account_id: str) -> None:
    stored = await store.get(account_id)
    if stored is not None:
        await store.put(stored, None)


async def exchange(engine: Engine, number: int) -> None:
    facts = replace(
        FACTS,
        decision_id=f"{number:026}",
        received_us=time.time_ns() // 1000,
        credential=f"{number % ACCOUNTS:032x}",
    )
    decision = await engine.decide(facts)
    await engine.finish(
        facts, decision, outcome=Outcome.COMPLETE, usage=Usage(280, 0, 150), upstream_status=200
    )


async def play(way: Way, server: int, count: int) -> None:
    """One round; what comes `before` a request is not counted."""
    numbers = iter(range(count))
    own_s = server_s = 0.0

    async def caller() -> None:
        for number in numbers:
            await exchange(way.engine, number)

    if way.before is None:
        before = time.process_time(), cpu_s(server)
        await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
        own_s, server_s = time.process_time() - before[0], cpu_s(server) - before[1]
    else:
        for batch in range(0, count, CONCURRENCY):
            some = range(batch, min(count, batch + CONCURRENCY))
            await asyncio.gather(*(way.before(number) for number in some))
            before = time.process_time(), cpu_s(server)
            await asyncio.gather(*(exchange(way.engine, number) for number in some))
            own_s += time.process_time() - before[0]
            server_s += cpu_s(server) - before[1]
    way.own_us.append(own_s / count * 1e6)
    way.server_us.append(server_s / count * 1e6)


async def report_cpu(store: RedisStore, server: int) -> None:
    for n in range(ACCOUNTS):
        await store.put(Subject(f"acc_{n}"), {f"{n:032x}": "key_1"})
    ways = ways_of(store)
    for round_ in range(ROUNDS + 1):
        for way in ways:
            await play(way, server, ROUND_REQUESTS)
            if round_ == 0:
                way.own_us.clear()
                way.server_us.clear()
    print(
        f"{'CPU us a request, decided and settled':42}{'own':>8}{'more':>8}{'server':>8}{'more':>8}"
    )
    base = ways[0]
    for way in ways:
        own = [a - b for a, b in zip(way.own_us, base.own_us, strict=True)]
        server_more = [a - b for a, b in zip(way.server_us, base.server_us, strict=True)]
        print(
            f"{way.name:42}{median(way.own_us):8.1f}{median(own):+8.1f}"
            f"{median(way.server_us):8.1f}{median(server_more):+8.1f}"
        )


async def report_bytes(store: RedisStore, client: Any) -> None:
    """Of accounts with nothing but a window, after one request and after five, hours apart."""
    before = await used(client)
    first = 0
    for turn in range(5):
        for start in range(0, MANY_ACCOUNTS, 64):
            few = range(start, min(MANY_ACCOUNTS, start + 64))
            await asyncio.gather(*(store.settle(settled(n, turn)) for n in few))
        first = first or await used(client)
    after = await used(client)
    one = await client.memory_usage(f"{PREFIX}{{a:many_{0:08}}}:w", samples=0)
    print(f"bytes of a window: {WINDOW_BYTES}; of its key and value in the store: {one}")
    print(
        f"bytes of store memory an account, its share of the table of keys included: "
        f"{(first - before) / MANY_ACCOUNTS:.0f} after one request, "
        f"{(after - before) / MANY_ACCOUNTS:.0f} after five"
    )


def settled(number: int, turn: int) -> Settlement:
    second = 1_800_000_000 + turn * 7_000
    bits = (number % 16, turn, number % 31, turn % 16, number % 16, number % 3)
    packed = SIGHTING.pack(second, 1, 90_000, 40_000, 2, *bits, turn, 77, 17_477)
    return Settlement("l", (), second * SECOND_US, Sighting(f"many_{number:08}", packed))


async def used(client: Any) -> int:
    return int((await client.info("memory"))["used_memory"])


async def run() -> None:
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedStore(Path(folder))
        async with embedded as url:
            store = await open_store(url, secret_fingerprint="0", prefix=PREFIX, timeout_s=5.0)
            client: Any = redis_client.Redis(unix_socket_path=url.removeprefix("unix://"))
            try:
                await report_bytes(store, client)
                await report_cpu(store, embedded.pid or 0)
            finally:
                await client.aclose()
                await store.aclose()


def main() -> None:
    uvloop.run(run())


if __name__ == "__main__":
    main()
