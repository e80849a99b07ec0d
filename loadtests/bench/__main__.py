"""`make bench`: throughput, latency, streams. Any answer but 200 ends it with exit code 1."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import uvloop

from ..driver import LoadResult, Shot, drive, saturate
from .rig import OTHER_CPU, Measured, machine, rig, wires

ROUNDS = 3
ROUND_S = 4.0
LATENCY_PER_S = 200.0
LATENCY_S = 10.0
OPEN_STREAMS = 2_000
CHUNK_STREAMS = 60
CHUNK_TOKENS = 400


class BenchError(SystemExit):
    """A run that cannot count."""


def demand_all_served(result: LoadResult, what: str) -> LoadResult:
    if result.errors or set(result.statuses) != {200}:
        print(f"{what}: not every answer was 200: {result.as_json()}", file=sys.stderr)
        raise BenchError(1)
    return result


def throughput() -> dict[str, Any]:
    """Requests a second on one core, gateway and relay in turn; medians of `ROUNDS` pairs."""
    sent = wires()
    rates: dict[str, list[float]] = {"gateway": [], "relay": []}
    cpu_us: dict[str, list[float]] = {"gateway": [], "relay": []}
    with rig("--fast") as (server, relay, _):
        for _ in range(ROUNDS):
            for measured in (server, relay):
                before = measured.cpu_s()
                result = demand_all_served(
                    uvloop.run(
                        saturate(
                            measured.url,
                            lambda number: sent[number % len(sent)],
                            connections=32,
                            duration_s=ROUND_S,
                        )
                    ),
                    measured.name,
                )
                rates[measured.name].append(result.rate)
                cpu_us[measured.name].append(1e6 * (measured.cpu_s() - before) / result.sent)
    pairs = [g / r for g, r in zip(rates["gateway"], rates["relay"], strict=True)]
    return {
        "gateway_per_s": _spread(rates["gateway"]),
        "relay_per_s": _spread(rates["relay"]),
        "gateway_cpu_us_per_request": _spread(cpu_us["gateway"]),
        "relay_cpu_us_per_request": _spread(cpu_us["relay"]),
        "ratio_gateway_to_relay": _spread(pairs, 3),
    }


def latency() -> dict[str, Any]:
    """Added by the gateway at 200 requests a second, open loop, beside the stand-in itself."""
    sent = wires()
    found: dict[str, Any] = {}
    with rig("--fast") as (server, relay, upstream):
        direct = Measured("direct", upstream, os.getpid())
        for measured in (direct, relay, server):
            shots = [
                Shot(number / LATENCY_PER_S, sent[number % len(sent)])
                for number in range(int(LATENCY_PER_S * LATENCY_S))
            ]
            result = demand_all_served(
                uvloop.run(drive(measured.url, shots, connections=32)), measured.name
            )
            found[f"{measured.name}_ms"] = result.latencies.as_ms()
    for name in ("p50", "p99"):
        found[f"added_{name}_ms"] = round(found["gateway_ms"][name] - found["direct_ms"][name], 3)
    return found


def open_streams() -> dict[str, Any]:
    """Memory of the serving process with `OPEN_STREAMS` streams open, above idle."""
    controls = "latency=0,tokens=200,chunk-delay=0.25"
    sent = wires(OPEN_STREAMS, stream=True, controls=controls)
    found: dict[str, Any] = {"streams": OPEN_STREAMS}
    with rig("--time-scale", "1") as (server, relay, _):
        for measured in (relay, server):
            idle = measured.resident_bytes()
            held = uvloop.run(_hold_open(measured, sent))
            found[f"{measured.name}_mib_above_idle"] = round((held - idle) / 2**20, 1)
    return found


async def _hold_open(measured: Measured, sent: list[bytes]) -> int:
    """Open every stream, see that each has begun, and read the process's memory."""
    parts = urlsplit(measured.url)
    writers: list[asyncio.StreamWriter] = []
    begun = 0

    async def one(wire: bytes) -> None:
        nonlocal begun
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writers.append(writer)
        writer.write(wire)
        head = await asyncio.wait_for(reader.readuntil(b"data:"), 60)
        if b" 200 " not in head[:15]:
            raise BenchError(1)
        begun += 1
        while await reader.read(65_536):
            pass

    tasks: list[asyncio.Task[None]] = []
    for wire in sent:
        tasks.append(asyncio.ensure_future(one(wire)))
        await asyncio.sleep(0.002)
    ends = time.monotonic() + 60
    while begun < len(sent) and time.monotonic() < ends:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    if begun < len(sent):
        print(f"{measured.name}: only {begun} of {len(sent)} streams began", file=sys.stderr)
        os._exit(1)
    held = measured.resident_bytes()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for writer in writers:
        writer.close()
    return held


def chunks() -> dict[str, Any]:
    """CPU per streamed chunk, chunks arriving one by one."""
    controls = f"latency=0,tokens={CHUNK_TOKENS},chunk-delay=0.005"
    sent = wires(CHUNK_STREAMS, stream=True, controls=controls)
    sent = [wire.replace(b'"max_tokens":256', b'"max_tokens":900') for wire in sent]
    found: dict[str, Any] = {}
    with rig("--time-scale", "1") as (server, relay, _):
        for measured in (relay, server):
            uvloop.run(drive(measured.url, [Shot(0, sent[0])], connections=1))
            before = measured.cpu_s()
            result = demand_all_served(
                uvloop.run(
                    drive(
                        measured.url,
                        [Shot(i / 50, wire) for i, wire in enumerate(sent)],
                        connections=CHUNK_STREAMS,
                        timeout_s=60,
                    )
                ),
                measured.name,
            )
            carried = result.sent * CHUNK_TOKENS
            found[f"{measured.name}_cpu_us_per_chunk"] = round(
                1e6 * (measured.cpu_s() - before) / carried, 2
            )
    found["ratio"] = round(
        found["gateway_cpu_us_per_chunk"] / max(0.01, found["relay_cpu_us_per_chunk"]), 2
    )
    return found


def _spread(values: list[float], digits: int = 1) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "throughput": throughput,
    "latency": latency,
    "open_streams": open_streams,
    "chunks": chunks,
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(sorted(PARTS)))
@click.option("--save", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(parts: tuple[str, ...], save: Path | None) -> None:
    """Run the benchmarks (all, or those named)."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {OTHER_CPU})
    found: dict[str, Any] = {"machine": machine()}
    for name in parts or tuple(PARTS):
        found[name] = PARTS[name]()
        click.echo(json.dumps({name: found[name]}, indent=2))
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        save.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
