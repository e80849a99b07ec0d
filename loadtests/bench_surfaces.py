"""Each surface beside the bare proxy that it extends, in one run: requests a second, CPU of the
gateway and of the data plane apart, latency at a fixed rate; the same CPU for streams; and of
Envoy's what the check, the Lua and the report take.

    python -m hydragate.loadtests.bench_surfaces [--save FILE]

Gateway and data plane share one core, the stand-in, the store and the load the other. Envoy and
nginx run one worker each. Envoy comes with the development extra, nginx from the system.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import uvloop
import yaml

from ..adapters.data_plane.envoy_config import envoy_bootstrap
from ..settings_file import load_settings
from .bench.rig import (
    MEASURED_CPU,
    OTHER_CPU,
    POLICY,
    Measured,
    keys,
    machine,
    own_store,
    status_of,
    wires,
)
from .driver import LoadResult, Shot, drive, saturate
from .processes import ServerProcess, gateway, standin
from .servers.nginx import PLAIN, WITH_LUA, shipped_site, start_nginx
from .servers.ports import free_port

ROUNDS = 3
ROUND_S = 2.0
CONNECTIONS = 32
RATE_PER_S = 150.0
LATENCY_S = 3.0
STREAM = "latency=0,tokens=100,chunk-delay=0.01"  # a hundred events in about a second
STREAMS_S = 4.0
BARE_NGINX = """
upstream model_api {{ server {upstream}; keepalive 256; }}
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 32m;
    access_log off;
    location / {{
        proxy_pass http://model_api;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_buffering off;
    }}
}}
"""


@dataclass(slots=True)
class Way:
    """One way to the model API and the processes on it, by part."""

    name: str
    url: str
    parts: dict[str, Measured]


def tool(name: str, hint: str) -> str:
    own = Path(sys.executable).parent / name
    found = str(own) if own.exists() else shutil.which(name)
    if found is None:
        raise click.ClickException(f"{name} is missing: {hint}")
    return found


@contextlib.contextmanager
def ways(*standin_options: str) -> Iterator[list[Way]]:
    """Every way to a stand-in with these options; two of Envoy's with less than it needs."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # nginx's worker may be somebody else
        upstream = stack.enter_context(standin(*standin_options, cpu=OTHER_CPU))
        store = stack.enter_context(own_store(folder))
        config = write_config(folder, upstream, store)
        server = stack.enter_context(
            gateway(folder / "data", "--config", str(config), cpu=MEASURED_CPU)
        )
        pid = status_of(server.admin, server.token)["worker_pids"][0]
        ours = Measured("gateway", server.url, pid)
        found = [Way("proxy", server.url, {"gateway": ours})]
        settings = load_settings(config, {})
        assert settings.checks is not None
        for name, shape in ENVOYS.items():
            port = free_port()
            envoy = settings.envoy.model_copy(update={"port": port, "admin_port": free_port()})
            bootstrap = envoy_bootstrap(
                settings.model_copy(update={"envoy": envoy}), settings.checks
            )
            process = stack.enter_context(running_envoy(folder, shape(bootstrap), name))
            found.append(_way(name, port, process, None if shape is bare else ours))
        for name, site in (("bare nginx", None), ("nginx", PLAIN), ("nginx with lua", WITH_LUA)):
            port, home = free_port(), folder / name.replace(" ", "-")
            if site is None:
                home.mkdir()
                target = upstream.removeprefix("http://")
                (home / "site.conf").write_text(BARE_NGINX.format(upstream=target, port=port))
            else:
                shipped_site(home, site, checks=settings.checks, upstream=upstream, port=port)
            process = stack.enter_context(running_nginx(home, has_lua=site == WITH_LUA))
            found.append(_way(name, port, process, None if site is None else ours))
        time.sleep(1.0)
        yield found


def _way(name: str, port: int, process: ServerProcess, ours: Measured | None) -> Way:
    url = f"http://127.0.0.1:{port}"
    parts = {"data_plane": Measured(name, url, process.process.pid)}
    return Way(name, url, parts if ours is None else {**parts, "gateway": ours})


def write_config(folder: Path, upstream: str, store: str) -> Path:
    (folder / "policy").mkdir()
    (folder / "policy" / "policy.yaml").write_text(POLICY)
    accounts = folder / "accounts.jsonl"
    accounts.write_text(
        "".join(
            json.dumps({"account_id": f"acc_{i}", "tier": "scale", "keys": [key]}) + "\n"
            for i, key in enumerate(keys())
        )
    )
    config = folder / "config.yaml"
    settings = {
        "upstreams": [{"url": upstream}],
        "policy": str(folder / "policy"),
        "accounts": str(accounts),
        "store": store,
        "store_timeout_s": 1.0,  # patient: a store that waits for a core is not broken
        "checks": {"port": free_port(), "report_port": free_port()},
        "envoy": {"host": "127.0.0.1", "check_timeout_s": 5.0},
    }
    config.write_text(yaml.safe_dump(settings))
    return config


def bare(bootstrap: dict[str, Any]) -> dict[str, Any]:
    """The same listener and upstream with nothing in between."""
    resources = bootstrap["static_resources"]
    manager = _manager(bootstrap)
    manager["http_filters"] = manager["http_filters"][-1:]
    for name in ("access_log", "early_header_mutation_extensions", "local_reply_config"):
        del manager[name]
    upstream = resources["clusters"][0]["name"]
    manager["route_config"] = {
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": upstream, "timeout": "0s"}}
                ],
            }
        ]
    }
    resources["clusters"] = resources["clusters"][:1]
    return bootstrap


def without_report(bootstrap: dict[str, Any]) -> dict[str, Any]:
    del _manager(bootstrap)["access_log"]
    return bootstrap


def with_check_alone(bootstrap: dict[str, Any]) -> dict[str, Any]:
    manager = _manager(without_report(bootstrap))
    manager["http_filters"] = [one for one in manager["http_filters"] if "lua" not in one["name"]]
    return bootstrap


def _manager(bootstrap: dict[str, Any]) -> dict[str, Any]:
    chain = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]
    manager: dict[str, Any] = chain["filters"][0]["typed_config"]
    return manager


ENVOYS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "bare envoy": bare,
    "envoy, check alone": with_check_alone,
    "envoy, no report": without_report,
    "envoy": lambda bootstrap: bootstrap,
}


@contextlib.contextmanager
def running_envoy(folder: Path, bootstrap: dict[str, Any], name: str) -> Iterator[ServerProcess]:
    path = folder / f"{name.replace(', ', '-').replace(' ', '-')}.yaml"
    path.write_text(yaml.safe_dump(bootstrap))
    process = ServerProcess(
        [
            *(tool("envoy", "run `make install`"), "-c", str(path), "--concurrency", "1"),
            *("--use-dynamic-base-id", "--log-level", "warning"),
            *("--component-log-level", "main:info"),
        ],
        cpu=MEASURED_CPU,
    )
    try:
        process.wait_ready("starting main dispatch loop")
        yield process
    finally:
        process.stop()


@contextlib.contextmanager
def running_nginx(folder: Path, *, has_lua: bool) -> Iterator[ServerProcess]:
    binary = tool("nginx", "install it with `apt-get install nginx-light`")
    try:
        process = start_nginx(binary, folder, workers=0, has_lua=has_lua, cpu=MEASURED_CPU)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    try:
        yield process
    finally:
        process.stop()


def throughput(
    found: list[Way], sent: list[bytes], *, round_s: float = ROUND_S, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Medians over the rounds, the ways in turn within each."""
    rates: dict[str, list[float]] = {way.name: [] for way in found}
    cpu_us: dict[str, dict[str, list[float]]] = {
        way.name: {part: [] for part in way.parts} for way in found
    }
    for _ in range(rounds):
        for way in found:
            before = {part: measured.cpu_s() for part, measured in way.parts.items()}
            result = demand_served(
                uvloop.run(
                    saturate(
                        way.url,
                        lambda number: sent[number % len(sent)],
                        connections=CONNECTIONS,
                        duration_s=round_s,
                    )
                ),
                way.name,
            )
            rates[way.name].append(result.rate)
            for part, measured in way.parts.items():
                spent = 1e6 * (measured.cpu_s() - before[part]) / result.sent
                cpu_us[way.name][part].append(spent)
    return {
        name: {
            "per_s": round(statistics.median(values)),
            "cpu_us_per_request": {
                part: round(statistics.median(spent), 1) for part, spent in cpu_us[name].items()
            },
        }
        for name, values in rates.items()
    }


def latency(found: list[Way], sent: list[bytes]) -> dict[str, Any]:
    """Open loop at `RATE_PER_S`."""
    told = {}
    for way in found:
        shots = [
            Shot(number / RATE_PER_S, sent[number % len(sent)])
            for number in range(int(RATE_PER_S * LATENCY_S))
        ]
        result = uvloop.run(drive(way.url, shots, connections=CONNECTIONS))
        told[way.name] = demand_served(result, way.name).latencies.as_ms()
    return told


def demand_served(result: LoadResult, name: str) -> LoadResult:
    if result.errors or set(result.statuses) != {200}:
        raise click.ClickException(f"{name}: not every answer was 200: {result.as_json()}")
    return result


@click.command()
@click.option("--save", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(save: Path | None) -> None:
    """Every surface beside the bare proxy that it extends."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {OTHER_CPU})
    sent, streams = wires(), wires(stream=True, controls=STREAM)
    with ways("--fast") as found:
        told = {"machine": machine(), "throughput": throughput(found, sent)}
        told["latency_ms"] = latency([way for way in found if "," not in way.name], sent)
    with ways("--time-scale", "1") as found:
        whole = [way for way in found if "," not in way.name]
        told["streams"] = throughput(whole, streams, round_s=STREAMS_S, rounds=2)
    click.echo(json.dumps(told, indent=2))
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        save.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
