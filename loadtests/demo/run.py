"""The demo from end to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import orjson
import uvloop

from ..driver import Shot, drive, request_bytes
from ..live.session import prepare, send, serving
from ..processes import GatewayProcess
from ..report.build import build
from .report import Added, text
from .scene import RUNAWAY_ID, Scene

PROBES = 300
PROBES_PER_S = 60.0
PROCESSES = 2
TIME_SCALE = 0.05  # of the stand-in's answers
TITLE = "Demo: a campaign among customers"
POLICY = Path(__file__).resolve().parents[2] / "policies" / "enforce"


def run(*, out: Path, seconds: float, scale: float, keep: bool) -> None:
    """Start everything, send the traffic, print the report, stop everything."""
    click.echo("making a world of customers and a campaign")
    scene = Scene.load(seconds=seconds, scale=scale)
    prepared = prepare(scene, scene.window, out, processes=PROCESSES)
    policy = _policy_dir()
    click.echo(f"starting a model API stand-in and the gateway ({prepared.spool.count:,} requests)")
    with serving(prepared, policy, time_scale=TIME_SCALE) as servers:
        server = servers.gateway
        with _progress(prepared.spool.count) as show:
            summary = send(
                prepared,
                server.url,
                log_folder=prepared.out / "data" / "log",
                policy=policy,
                on_progress=show,
            )
        added = uvloop.run(_probe(servers.upstream, server.url, _a_key(prepared.accounts)))
        (out / "latency-added.json").write_bytes(orjson.dumps(added.as_json()))
        clusters = _keep_clusters(server, out)
        paths = _report(out)
        (found,) = orjson.loads((out / "report" / "summary.json").read_bytes())["runs"]
        click.echo(text(found, added, paths=paths, why=clusters[0]["why"] if clusters else []))
        _explain(summary["a_refusal"], server)
        if keep:
            _stay(server, out)


def _policy_dir() -> Path:
    packaged = Path(__file__).resolve().parents[2] / "gateway" / "policies" / "enforce"
    return POLICY if POLICY.is_dir() else packaged


def _report(out: Path) -> list[Path]:
    return build(
        {"demo": out},
        labels=out / "labels.jsonl",
        line_labels=out / "line-labels.jsonl",
        out=out / "report",
        title=TITLE,
    )


@contextlib.contextmanager
def _progress(count: int) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=count, label="traffic", file=sys.stderr) as bar:
        yield lambda done, _: bar.update(done - bar.pos)


def _a_key(accounts: Path) -> str:
    """The key of an account that is far from any limit, once its script has stopped."""
    for line in accounts.read_bytes().splitlines():
        record = orjson.loads(line)
        if record["account_id"] == RUNAWAY_ID:
            return str(record["keys"][0])
    raise RuntimeError("the demo's own account is missing")


async def _probe(upstream: str, url: str, key: str) -> Added:
    """The same quick requests, one to the stand-in, one through the gateway, in turn."""
    body = json.dumps(
        {"model": "stand-in", "messages": [{"role": "user", "content": "ping " * 250}]}
    ).encode()
    headers = [("x-standin", "latency=0,tokens=20")]
    wire = request_bytes("/v1/chat/completions", body, key=key, headers=headers)

    def shots(offset_s: float) -> Iterator[Shot]:
        for number in range(PROBES):
            yield Shot(offset_s + number / PROBES_PER_S, wire)

    direct, through = await asyncio.gather(
        drive(upstream, shots(0.0), connections=4, timeout_s=10),
        drive(url, shots(0.5 / PROBES_PER_S), connections=4, timeout_s=10),
    )
    return Added(direct, through)


def _explain(decision: str | None, server: GatewayProcess) -> None:
    if decision is not None:
        click.echo("")
        click.echo(f"Every refusal can be explained; this one was {decision}:")
        click.echo("")
        explained = _ask(server, f"/api/decisions/{decision}")
        click.echo("\n".join("  " + line for line in explained["text"].splitlines()))


def _keep_clusters(server: GatewayProcess, out: Path) -> list[dict[str, Any]]:
    """What the linker found, the suspected first, as `clusters.jsonl` beside the decisions."""
    found: list[dict[str, Any]] = []
    for one in _ask(server, "/api/clusters")["clusters"]:
        shown = _ask(server, f"/api/clusters/{one['cluster_id']}?limit=1000")
        while len(shown["accounts"]) < shown["size"]:
            path = f"/api/clusters/{one['cluster_id']}?limit=1000&offset={len(shown['accounts'])}"
            more = _ask(server, path)["accounts"]
            if not more:
                break
            shown["accounts"] += more
        found.append(shown | {"first_seen": shown["first_seen_us"] / 1e6})
    lines = b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in found)
    (out / "clusters.jsonl").write_bytes(lines)
    return found


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
    click.echo(f"keys to call it with are in {out / 'accounts.jsonl'}; to look inside:")
    token = out / "data" / "admin-token"
    click.echo(f"  hydragate accounts list --admin {server.admin} --token-file {token}")
    wait: Callable[[float], None] = time.sleep
    with contextlib.suppress(KeyboardInterrupt):
        while server.process.poll() is None:
            wait(0.5)
