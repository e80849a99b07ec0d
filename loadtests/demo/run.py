"""The demo from end to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import uvloop

from ..driver import LoadResult, Shot, drive, request_bytes
from ..processes import GatewayProcess, gateway, standin
from .report import Added, Tally, summary, text, write
from .scene import CUSTOMER, Scene

PROBES = 300
PROBES_PER_S = 60.0
POLICY = Path(__file__).resolve().parents[2] / "policies" / "enforce"


def run(*, out: Path, seconds: float, scale: float, keep: bool) -> None:
    """Start everything, send the traffic, print the report, stop everything."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    scene = Scene(seconds, scale)
    accounts = out / "accounts.jsonl"
    accounts.write_text("".join(json.dumps(record) + "\n" for record in scene.accounts()))
    accounts.chmod(0o600)
    policy = _policy_dir()
    click.echo(f"starting a model API stand-in and the gateway ({len(scene.callers):,} accounts)")
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(standin("--time-scale", "0.05"))
        server = stack.enter_context(
            gateway(
                out / "data",
                *("--upstream", upstream, "--policy", str(policy), "--accounts", str(accounts)),
            )
        )
        tally = Tally()
        load = uvloop.run(_drive(server.url, scene, tally))
        added = uvloop.run(_probe(upstream, server.url, scene))
        found = summary(scene, tally, load, added, policy.name)
        plots = write(found, tally, added, out)
        click.echo(text(found, plots, out))
        _explain(tally, server)
        if keep:
            _stay(server, out)


def _policy_dir() -> Path:
    packaged = Path(__file__).resolve().parents[2] / "gateway" / "policies" / "enforce"
    return POLICY if POLICY.is_dir() else packaged


async def _drive(url: str, scene: Scene, tally: Tally) -> LoadResult:
    shots = scene.shots()
    if not sys.stderr.isatty():
        return await drive(url, shots, on_result=tally.add)
    with click.progressbar(length=len(shots), label="traffic", file=sys.stderr) as bar:

        def on_result(shot: Shot, outcome: Any) -> None:
            tally.add(shot, outcome)
            bar.update(1)

        return await drive(url, shots, on_result=on_result)


async def _probe(upstream: str, url: str, scene: Scene) -> Added:
    """The same quick requests, one to the stand-in, one through the gateway, in turn."""
    callers = scene.of(CUSTOMER)
    body = json.dumps(
        {"model": "stand-in", "messages": [{"role": "user", "content": "ping " * 250}]}
    ).encode()
    headers = [("x-standin", "latency=0,tokens=20")]

    def shots(offset_s: float) -> Iterator[Shot]:
        for number in range(PROBES):
            key = callers[number % len(callers)].key
            wire = request_bytes("/v1/chat/completions", body, key=key, headers=headers)
            yield Shot(offset_s + number / PROBES_PER_S, wire)

    direct, through = await asyncio.gather(
        drive(upstream, shots(0.0), connections=4, timeout_s=10),
        drive(url, shots(0.5 / PROBES_PER_S), connections=4, timeout_s=10),
    )
    return Added(direct, through)


def _explain(tally: Tally, server: GatewayProcess) -> None:
    if tally.a_refusal is not None:
        click.echo("")
        click.echo(f"Every refusal can be explained; this one was {tally.a_refusal}:")
        click.echo("")
        explained = _ask(server, f"/api/decisions/{tally.a_refusal}")
        click.echo("\n".join("  " + line for line in explained["text"].splitlines()))


def _ask(server: GatewayProcess, path: str) -> dict[str, Any]:
    import urllib.request

    request = urllib.request.Request(
        server.admin + path, headers={"authorization": f"Bearer {server.token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def _stay(server: GatewayProcess, out: Path) -> None:
    click.echo("")
    click.echo(f"still running: gateway {server.url} · admin {server.admin} (Ctrl+C ends it)")
    click.echo(f"keys are in {out / 'accounts.jsonl'}, the admin token in {out / 'data'}")
    wait: Callable[[float], None] = time.sleep
    with contextlib.suppress(KeyboardInterrupt):
        while server.process.poll() is None:
            wait(0.5)
