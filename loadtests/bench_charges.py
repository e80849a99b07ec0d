"""The same charges against one store after another: a single server beside a Cluster.

    python -m hydragate.loadtests.bench_charges [URL …] [--save FILE]

Without a URL it starts both on loopback: one Valkey, and a Cluster of three primaries.

A charge validates its account and steps three limits of it; with `across` a fourth limit lies on
a tag of its own, which in a Cluster mostly is another node's. What is written is under a prefix
of its own and removed at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import uvloop

from ..model import Charge, Step, Subject
from ..stores import RedisStore, open_store
from .bench.rig import machine
from .bench_store import steps_of
from .servers.cluster import cluster
from .servers.valkey import server

ACCOUNTS = 300
CHARGES = 4_000
CONCURRENCY = 32
ROUNDS = 5


async def measure_in_turn(urls: Sequence[str]) -> dict[str, Any]:
    """Medians over `ROUNDS`, the stores in turn within each."""
    stores = [
        await open_store(
            url, secret_fingerprint="0" * 16, prefix=f"hgb{secrets.token_hex(4)}:", timeout_s=5.0
        )
        for url in urls
    ]
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    try:
        subjects = [await fill(store) for store in stores]
        for _ in range(ROUNDS):
            for url, store, known in zip(urls, stores, subjects, strict=True):
                for name, across in (("own_slot", False), ("across", True)):
                    sample = await one_round(store, known, across)
                    found.setdefault(label(url), {}).setdefault(name, []).append(sample)
    finally:
        for store in stores:
            await store.wipe()
            await store.aclose()
    return {url: {name: medians(s) for name, s in kinds.items()} for url, kinds in found.items()}


def label(url: str) -> str:
    return urlsplit(url).scheme


def medians(samples: list[tuple[float, float, float]]) -> dict[str, float]:
    rate, cpu_us, p99_ms = (statistics.median(column) for column in zip(*samples, strict=True))
    return {
        "charges_per_s": round(rate),
        "gateway_cpu_us": round(cpu_us, 1),
        "p99_ms": round(p99_ms, 2),
    }


async def fill(store: RedisStore) -> list[Subject]:
    return [await store.put(Subject(f"acc_{n}"), None) for n in range(ACCOUNTS)]


async def one_round(
    store: RedisStore, subjects: Sequence[Subject], across: bool
) -> tuple[float, float, float]:
    """(charges a second, CPU of this process in us per charge, p99 in ms)."""
    queue = iter([_charge(subjects[n % ACCOUNTS], n, across) for n in range(CHARGES)])
    waits: list[float] = []

    async def caller() -> None:
        for charge in queue:
            began = time.perf_counter()
            reply = await store.charge(charge)
            waits.append(time.perf_counter() - began)
            if not reply.applied:
                raise click.ClickException("a charge was refused: the benchmark is broken")

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CONCURRENCY)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return CHARGES / wall, 1e6 * cpu / CHARGES, 1e3 * statistics.quantiles(waits, n=100)[98]


def _charge(subject: Subject, number: int, across: bool) -> Charge:
    steps = steps_of(subject.account_id, 3)
    if across:
        one = steps[0]
        other = Step(
            *(f"o:org_{number % 50}", one.field, one.kind, one.effect),
            *(one.amount, one.ceiling, one.ttl_us),
        )
        steps = (*steps, other)
    return Charge(f"{number:026}", subject.account_id, subject.version, steps)


@contextlib.contextmanager
def own_stores() -> Iterator[tuple[str, ...]]:
    """URLs of a single Valkey and of a Cluster of three."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("one", "three"):
            (Path(folder) / name).mkdir()
        with server(Path(folder) / "one") as one, cluster(Path(folder) / "three") as three:
            yield one.url, three.url


@click.command()
@click.argument("urls", nargs=-1)
@click.option("--save", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(urls: tuple[str, ...], save: Path | None) -> None:
    """Charge each store in turn and print rates, CPU and latency."""
    with contextlib.nullcontext(urls) if urls else own_stores() as measured:
        told = {"machine": machine(), "stores": uvloop.run(measure_in_turn(measured))}
    click.echo(json.dumps(told, indent=2))
    if save is not None:
        save.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
