"""A primary dies under load: how much more than the quota is admitted, store by store.

    python -m hydragate.loadtests.bench_failover [--save FILE]

Real servers on loopback. Eight callers without rest charge one limit, the server that has it is
killed, and the load goes on for two seconds after charges pass again. What any window admits is
at most

    quota · window + burst + what was lost of the limit (at most one burst)

for each failover, since a limit that is lost begins full; what is above quota · window + burst is
the over-admission that is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import uvloop

from ..core.gcra import increment_us, tolerance_us
from ..errors import StoreError
from ..model import SECOND_US, Charge, Effect, Quota, Step, StepKind
from ..stores import RedisStore, open_store
from .bench.rig import machine
from .servers.cluster import Cluster, cluster
from .servers.sentinel import watched_pair
from .servers.valkey import Server, server

PER_S, BURST = 4, 80  # so slow that what a failover loses is not refilled meanwhile
QUOTA = Quota(PER_S, SECOND_US, BURST)
CALLERS = 8
LOAD_S, AFTER_S = 3.0, 2.0
FAILOVER_S = 40.0
SLACK = 2  # charges whose answers came in another order than they were made

_ids = itertools.count(1)


@dataclass(slots=True)
class Seen:
    """When charges were admitted, refused, and failed for want of a primary."""

    admitted: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0

    def over_admitted(self) -> float:
        """The most above quota · window + burst, over all windows; at most 0 where it held."""
        times, worst, lowest = self.admitted, float("-inf"), float("inf")
        for count, at in enumerate(times):
            lowest = min(lowest, count - PER_S * at)
            worst = max(worst, count + 1 - PER_S * at - lowest)
        return worst - BURST

    def longest_gap_s(self) -> float:
        """Between two admissions: the outage, and what the limit itself holds back."""
        return max(
            (later - earlier for earlier, later in itertools.pairwise(self.admitted)), default=0.0
        )


@dataclass(frozen=True, slots=True)
class Failover:
    """A store under load, whose limit is on the server that `kill` ends."""

    url: str
    tag: str
    kill: Callable[[], None]


# ── what fails over ──────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def restarted(folder: Path, *options: str) -> Iterator[Failover]:
    """One server, killed and started again on what it has on disk."""
    with server(folder, *options) as one:

        def kill() -> None:
            one.stop()
            one.start()

        yield Failover(one.url, "a:acc_1", kill)


@contextlib.contextmanager
def watched(folder: Path, *, is_behind: bool) -> Iterator[Failover]:
    """Sentinel with one replica; `is_behind`: it has got nothing of what the load did."""
    with watched_pair(folder) as (primary, replica, sentinel):
        if is_behind:
            _freeze(primary, replica)

        def kill() -> None:
            primary.stop()
            if is_behind:
                replica.send_signal(signal.SIGCONT)

        yield Failover(f"redis+sentinel://127.0.0.1:{sentinel.port}/main", "a:acc_1", kill)


@contextlib.contextmanager
def clustered(folder: Path, *, is_behind: bool) -> Iterator[Failover]:
    """Three primaries, one of them with a replica; the limit is on that one."""
    with cluster(folder, node_timeout_ms=1_500) as running:
        dying = running.nodes[1]
        replica = running.add_replica(dying)
        if is_behind:
            _freeze(dying, replica)

        def kill() -> None:
            dying.stop()
            if is_behind:
                replica.send_signal(signal.SIGCONT)

        yield Failover(running.url, f"a:{account_on(running, dying)}", kill)


def _freeze(primary: Server, replica: Server) -> None:
    with primary.client() as client:
        replica.send_signal(signal.SIGSTOP)
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")


def account_on(running: Cluster, node: Server) -> str:
    """A new account whose slot `node` serves."""
    while True:
        account_id = f"acc_{secrets.token_hex(6)}"
        if running.node_of(f"a:{account_id}") is node:
            return account_id


EVERY_SECOND = ("--appendonly", "yes", "--appendfsync", "everysec")
FAILOVERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Failover]]] = {
    "one server, written to disk each second": lambda folder: restarted(folder, *EVERY_SECOND),
    "one server, nothing on disk": restarted,
    "Sentinel, replica up to date": lambda folder: watched(folder, is_behind=False),
    "Sentinel, replica that missed everything": lambda folder: watched(folder, is_behind=True),
    "Cluster, replica up to date": lambda folder: clustered(folder, is_behind=False),
    "Cluster, replica that missed everything": lambda folder: clustered(folder, is_behind=True),
}


# ── the load ─────────────────────────────────────────────────────────────────────────────────


def charge_of(tag: str) -> Charge:
    amount, tolerance = increment_us(1, QUOTA), tolerance_us(QUOTA)
    step = Step(tag, "rpm", StepKind.GCRA, Effect.ENFORCE, amount, tolerance, 2 * tolerance)
    return Charge(f"lease-{next(_ids)}", None, 0, (step,))


async def load_until(store: RedisStore, tag: str, seen: Seen, is_over: Callable[[], bool]) -> None:
    """`CALLERS` callers who never rest."""

    async def caller() -> None:
        while not is_over():
            try:
                reply = await store.charge(charge_of(tag))
            except StoreError:
                seen.failed += 1
                await asyncio.sleep(0.01)
                continue
            if reply.applied:
                seen.admitted.append(time.monotonic())
            else:
                seen.refused += 1
            await asyncio.sleep(0.002)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def through(failover: Failover) -> Seen:
    """Load, the death, and load until `AFTER_S` after charges pass again.

    Raises RuntimeError where they never do.
    """
    store = await open_store(failover.url, secret_fingerprint="0", timeout_s=0.5)
    try:
        seen = Seen()
        began = time.monotonic()
        await load_until(store, failover.tag, seen, lambda: time.monotonic() - began > LOAD_S)
        died = time.monotonic()
        failover.kill()
        answered = len(seen.admitted) + seen.refused
        ends = [died + FAILOVER_S]

        def is_over() -> bool:
            if len(seen.admitted) + seen.refused > answered and len(ends) == 1:
                ends.append(time.monotonic() + AFTER_S)
            return time.monotonic() > ends[-1]

        await load_until(store, failover.tag, seen, is_over)
        if len(ends) == 1:
            raise RuntimeError("charges never passed again")
        return seen
    finally:
        await store.aclose()


def told(seen: Seen) -> dict[str, Any]:
    return {
        "over_admitted": round(max(0.0, seen.over_admitted()), 1),
        "bound": BURST,
        "admitted": len(seen.admitted),
        "refused": seen.refused,
        "failed": seen.failed,
        "longest_gap_s": round(seen.longest_gap_s(), 1),
    }


@click.command()
@click.option("--save", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(save: Path | None) -> None:
    """Over-admission on each store while the server that has the limit dies."""
    found: dict[str, Any] = {}
    for name, start in FAILOVERS.items():
        with tempfile.TemporaryDirectory() as folder, start(Path(folder)) as failover:
            found[name] = told(uvloop.run(through(failover)))
        click.echo(f"{name:42} {json.dumps(found[name])}")
    quota = {"per_s": PER_S, "burst": BURST, "callers": CALLERS}
    if save is not None:
        result = {"machine": machine(), "quota": quota, "failovers": found}
        save.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
