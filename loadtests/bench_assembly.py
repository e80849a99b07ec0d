"""How long a pool lives unseen once there is enough evidence, and what an account costs the store.

    python -m hydragate.loadtests.bench_assembly [--pool 25000] [--others 25000] [--policy DIR]

Starts a real Valkey and the linker at its ordinary pace (a tick every 2 s, a snapshot every 30 s),
and tells it of a pool among other accounts as workers do. The clock runs from the last message of
the pool until all of its accounts but one in a thousand say so in the store. Senders, linker and
whoever looks share one process, so that a core does all of it; its CPU seconds are told too.

Bytes are those of `used_memory`, table of keys included, of active accounts: each has made two
requests under the policy, decided and settled, with its windows kept.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import redis.asyncio as redis_client
import uvloop

from ..app import SystemClock
from ..commands.replay import FixedPolicy
from ..core.keyed import KeyedHash
from ..engine import Engine
from ..linker_process import spare_the_collector
from ..linking.evidence import Key
from ..linking.linker import Evidence, Linker
from ..model import Outcome, Subject, Usage
from ..observe.ids import DecisionIds
from ..stores import RedisStore, open_store
from ..stores.embedded import EmbeddedStore
from ..stores.mailbox import LinkerStatus, StatusBoard
from ..stores.stream import EVIDENCE_MESSAGES, EvidenceSender, MessageLog
from ..workers.linker import LinkerProcess, Pace
from .bench_windows import FACTS, used

AT_ONCE = 64
TOLD_AT_ONCE = 8_000  # pieces of evidence
SPREAD_US = 60 * 86_400 * 1_000_000
GIVE_UP_S = 300.0


def subject(name: str, number: int) -> Subject:
    """As the platform imports it."""
    return Subject(
        f"{name}_{number:08}",
        created_us=time.time_ns() // 1000 - SPREAD_US + number,
        tier="start",
        billing_country="DE",
        email_domain=f"mail-{number // 60}.example",
        phone_country="DE",
        payment=blake2b(f"{name} {number}".encode(), digest_size=16).hexdigest(),
        signup_network=blake2b(f"{name} {number}".encode(), digest_size=16).hexdigest(),
        signup_path="standard",
    )


def shown(name: str, number: int, **texts: object) -> Evidence:
    keys = [
        Key(family, blake2b(f"{family} {text}".encode(), digest_size=8).hexdigest())
        for family, text in texts.items()
    ]
    return Evidence(f"{name}_{number:08}", time.time_ns() // 1000, tuple(keys))


def pool(size: int) -> Iterator[Evidence]:
    """Bought in lots that overlap, with one template."""
    for n in range(size):
        yield shown(
            *("pool", n),
            system_prompt="the pool's",
            payment=f"pool {n // 12}",
            signup_network=f"pool {n // 8}",
            mail_domain=f"pool {(n + 30) // 60}",
            question_head=f"pool {n}",
        )


def others(size: int) -> Iterator[Evidence]:
    for n in range(size):
        yield shown(
            *("other", n),
            system_prompt=f"app {n % 400 if n % 3 else n}",
            payment=f"card {n}",
            signup_network=f"home {n // 30 if n % 7 == 0 else n}",
            client_stack=f"sdk {n % 40}",
            question_head=f"other {n}",
        )


async def put_all(store: RedisStore, name: str, size: int) -> None:
    for start in range(0, size, AT_ONCE):
        few = range(start, min(size, start + AT_ONCE))
        keys = [{blake2b(f"{name} {n}".encode(), digest_size=16).hexdigest(): "key"} for n in few]
        await asyncio.gather(
            *(store.put(subject(name, n), one) for n, one in zip(few, keys, strict=True))
        )


async def tell(store: RedisStore, evidence: Sequence[Evidence]) -> None:
    for start in range(0, len(evidence), TOLD_AT_ONCE):
        sender = EvidenceSender(MessageLog(store, "evidence", most=EVIDENCE_MESSAGES))
        for one in evidence[start : start + TOLD_AT_ONCE]:
            sender.offer(one)
        await sender.aclose(timeout_s=60)
        if sender.dropped:
            raise click.ClickException(f"{sender.dropped} pieces of evidence never left")


async def ask_all(store: RedisStore, policy: Path, name: str, size: int) -> None:
    """Two requests of each account, decided and settled."""
    engine = Engine(
        store=store,
        policies=FixedPolicy(policy),
        clock=SystemClock(),
        ids=DecisionIds(),
        keyed=KeyedHash(b"a secret for benchmarks only"),
        keeps_windows=True,
    )

    async def ask(number: int) -> None:
        credential = blake2b(f"{name} {number}".encode(), digest_size=16).hexdigest()
        facts = replace(FACTS, credential=credential, received_us=time.time_ns() // 1000)
        for turn in (0, 1):
            facts = replace(facts, decision_id=f"{number:020}{turn:06}")
            decision = await engine.decide(facts)
            usage = Usage(280, 0, 150)
            await engine.finish(
                facts, decision, outcome=Outcome.COMPLETE, usage=usage, upstream_status=200
            )

    for start in range(0, size, AT_ONCE):
        await asyncio.gather(*(ask(n) for n in range(start, min(size, start + AT_ONCE))))


@asynccontextmanager
async def linker_on(store: RedisStore) -> AsyncIterator[LinkerProcess]:
    process = LinkerProcess(
        store,
        clock=SystemClock(),
        create=Linker,
        restore=Linker.restore,
        leader="bench",
        pace=Pace(),
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(process.run(stopping))
    try:
        yield process
    finally:
        stopping.set()
        await running


async def until_read(store: RedisStore, pairs: int) -> LinkerStatus:
    board, deadline_s = StatusBoard(store), time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline_s:
        status = await board.read()
        if status is not None and status.pairs >= pairs:
            return status
        await asyncio.sleep(0.2)
    raise click.ClickException(f"not read within {GIVE_UP_S:.0f} s")


async def until_known(store: RedisStore, size: int) -> float:
    """When they said so, on the monotonic clock. Asks who has not been seen to say so."""
    missing, deadline_s = list(range(size)), time.monotonic() + GIVE_UP_S
    turn = 0
    while len(missing) > size // 1_000:
        if time.monotonic() > deadline_s:
            raise click.ClickException(f"{len(missing)} accounts not linked in {GIVE_UP_S:.0f} s")
        turn += AT_ONCE
        few = missing[turn % len(missing) :][:AT_ONCE]
        found = await asyncio.gather(*(store.get(f"pool_{n:08}") for n in few))
        known = {
            n
            for n, one in zip(few, found, strict=True)
            if one is not None and one.cluster_state == "suspected"
        }
        if known:
            missing = [n for n in missing if n not in known]
        else:
            await asyncio.sleep(0.02)
    return time.monotonic()


async def measure(pool_size: int, others_size: int, policy: Path) -> dict[str, Any]:
    spare_the_collector()
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedStore(Path(folder))
        async with embedded as url:
            store = await open_store(url, secret_fingerprint="0", timeout_s=10.0)
            client: Any = redis_client.Redis(unix_socket_path=url.removeprefix("unix://"))
            try:
                return await _measure(store, client, pool_size, others_size, policy)
            finally:
                await client.aclose()
                await store.aclose()


async def _measure(
    store: RedisStore, client: Any, pool_size: int, others_size: int, policy: Path
) -> dict[str, Any]:
    count = pool_size + others_size
    marks = [await used(client)]
    await put_all(store, "other", others_size)
    await put_all(store, "pool", pool_size)
    marks.append(await used(client))
    await ask_all(store, policy, "other", others_size)
    await ask_all(store, policy, "pool", pool_size)
    marks.append(await used(client))
    told, crowd = list(pool(pool_size)), list(others(others_size))
    pairs = sum(len(one.keys) for one in crowd)
    async with linker_on(store):
        await tell(store, crowd)
        await until_read(store, pairs)
        cpu_s, began_s = time.process_time(), time.monotonic()
        await tell(store, told)
        told_s, told_cpu_s = time.monotonic(), time.process_time()
        known_s = await until_known(store, pool_size)
        cpu_after_s = time.process_time() - told_cpu_s
        status = await until_read(store, pairs + sum(len(one.keys) for one in told))
    marks.append(await used(client))
    subjects, active, linked = (b - a for a, b in pairwise(marks))
    return {
        "pool": pool_size,
        "others": others_size,
        "telling_s": round(told_s - began_s, 1),
        "telling_cpu_s": round(told_cpu_s - cpu_s, 1),
        "assembled_s": round(known_s - told_s, 1),
        "assembled_cpu_s": round(cpu_after_s, 1),
        "lost_messages": status.lost,
        "bytes_per_account": {
            "record and key": round(subjects / count),
            "limits and window": round(active / count),
            "linking (cluster of half of them, the linker's snapshot)": round(linked / count),
            "all": round((marks[-1] - marks[0]) / count),
        },
    }


@click.command()
@click.option("--pool", "pool_size", default=25_000, show_default=True)
@click.option("--others", "others_size", default=25_000, show_default=True)
@click.option("--policy", type=click.Path(exists=True, path_type=Path), default="policies/enforce")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path))
def main(pool_size: int, others_size: int, policy: Path, save: Path | None) -> None:
    """Print the figures as JSON."""
    found = json.dumps(uvloop.run(measure(pool_size, others_size, policy)), indent=1)
    click.echo(found)
    if save is not None:
        save.write_text(found + "\n")


if __name__ == "__main__":
    main()
