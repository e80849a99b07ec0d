"""Whose address counts behind real Envoy and real nginx, as data planes and as plain proxies.

The public address of a caller comes into the loopback by a PROXY header, as a balancer writes one.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from gateway.loadtests.processes import ServerProcess
from gateway.loadtests.servers.nginx import PLAIN, WITH_LUA, start_nginx
from gateway.loadtests.servers.ports import free_port
from tests.surfaces.conftest import write_accounts
from tests.surfaces.raw_http import Answer, chat, read_answer
from tests.surfaces.test_regions import (
    ACCOUNTS,
    CLOSED,
    FOREIGN,
    HEAD,
    LOCAL,
    OPEN,
    PLACES,
    ROOT,
    write_places,
)

from .planes import (
    Plane,
    deciding,
    decisions,
    envoy_before,
    nginx_before,
    tool,
    wait_until_open,
)

MESSAGES = "/v1/messages"
BALANCER, STRANGER = "127.0.0.1", "127.0.0.2"
FAR = "20.3.0.9"  # in Australia
TRAVELLERS = [
    {
        "account_id": f"acc_{name}",
        "keys": [f"sk-travels-{name}-0123456789"],
        "billing_country": "DE",
    }
    for name in ("envoy", "nginx", "nginx-lua")
]
TRAVEL = """
version: 1
rules:
  - name: too-fast
    why: nobody is in Germany and in Australia within seconds
    when: {travel_kmh: {gt: 1200}, verification: {below: phone}}
    on_unknown: no_match
    then: {verify: phone}
"""
Headers = tuple[tuple[str, str], ...]


def ask(
    url: str,
    *chain: str,
    key: str = FOREIGN,
    peer: str = BALANCER,
    proxied: str | None = None,
    more: Headers = (),
    path: str = "/v1/chat/completions",
) -> Answer:
    """One request from `peer`, with a line of X-Forwarded-For for each of `chain`; with `proxied`
    its connection begins with a PROXY header that names this address."""
    body, parts = chat(max_tokens=5), urlsplit(url)
    lines = [f"POST {path} HTTP/1.1", "Host: g", f"Authorization: Bearer {key}"]
    lines += [f"X-Forwarded-For: {line}" for line in chain]
    lines += [f"{name}: {value}" for name, value in more]
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
    said = f"PROXY TCP4 {proxied} 127.0.0.1 4000 443\r\n".encode() if proxied else b""
    target = (parts.hostname or "", parts.port or 0)
    with socket.create_connection(target, 20, source_address=(peer, 0)) as sock:
        sock.sendall(said + "\r\n".join(lines).encode() + body)
        return read_answer(sock)


def shipped_regions(folder: Path) -> dict[str, Any]:
    """Puts the shipped region rules beside the policy; the settings that go with them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy").mkdir()
    shutil.copy(ROOT / "policies/enforce/regions.yaml", folder / "policy")
    shutil.copytree(ROOT / "policies/sets", folder / "policy" / "sets")
    (folder / "policy" / "travel.yaml").write_text(TRAVEL)
    write_accounts(folder / "accounts.jsonl", [*ACCOUNTS, *TRAVELLERS])
    write_places(folder / "places.geo", {**PLACES, "20.3.0.0/16": "AU"})
    geo = {"files": [str(folder / "places.geo")], "bundled": False}
    return {"trusted_proxies": [f"{BALANCER}/32"], "geo": geo}


# ── as data planes, which ask ────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def deciding_gateway(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """One gateway for all: it answers checks, and is a proxy."""
    folder = tmp_path_factory.mktemp("regions")
    with deciding(folder, upstream, policy=HEAD, **shipped_regions(folder)) as running:
        yield running


@pytest.fixture(scope="module", params=["envoy", "nginx", "nginx-lua"])
def plane(
    request: pytest.FixtureRequest, upstream: str, deciding_gateway: Plane
) -> Iterator[Plane]:
    asked = deciding_gateway
    with contextlib.ExitStack() as stack:
        if request.param == "envoy":
            url, _, process = stack.enter_context(envoy_before(asked.config))
        else:
            site = WITH_LUA if request.param == "nginx-lua" else PLAIN
            url, process = stack.enter_context(nginx_before(asked.config, upstream, site=site))
        yield Plane(url, asked.server, process, asked.config)


def test_the_address_that_the_balancer_names_counts(plane: Plane) -> None:
    assert ask(plane.url, OPEN).status == 200
    assert ask(plane.url, CLOSED).status == 403
    refused = ask(plane.url, CLOSED, key=LOCAL)
    assert (refused.status, refused.json()["error"]["code"]) == (451, "region_not_supported")


@pytest.mark.parametrize(
    ("chain", "status"),
    [
        pytest.param((f"{OPEN}, {CLOSED}",), 403, id="left-of-the-truth"),
        pytest.param((OPEN, CLOSED), 403, id="a-line-before-it"),
        pytest.param((f"{CLOSED}, {OPEN}",), 200, id="accuses-itself"),
        pytest.param((f"{OPEN}, {CLOSED}, {BALANCER}",), 403, id="two-proxies"),
        pytest.param((f"{CLOSED}, " * 100 + OPEN,), 200, id="a-hundred-before-it"),
        pytest.param((OPEN + f", {BALANCER}" * 100,), 200, id="a-hundred-of-ours-say-nothing"),
        pytest.param((f"{CLOSED}, garbage",), 200, id="garbage-says-nothing"),
        pytest.param((f"::ffff:{CLOSED}",), 403, id="mapped"),
        pytest.param((f"[::ffff:{CLOSED}]:443",), 403, id="mapped-with-port"),
    ],
)
def test_what_a_client_writes_moves_it_nowhere(
    plane: Plane, chain: tuple[str, ...], status: int
) -> None:
    assert ask(plane.url, *chain).status == status


@pytest.mark.parametrize("header", ["X-Hydragate-Peer", "X-Forwarded-For", "Forwarded"])
def test_nobody_else_names_an_address(plane: Plane, header: str) -> None:
    told = f"for={CLOSED}" if header == "Forwarded" else CLOSED
    claim = ((header, told), ("User-Agent", f"claims-{header}"))
    assert ask(plane.url, peer=STRANGER, more=claim).status == 200
    facts = line_of(plane, f"claims-{header}")["facts"]
    assert facts["country"] is None, "a loopback address has no country"


def test_no_second_header_is_read(plane: Plane) -> None:
    spoofed = (("CF-Connecting-IP", OPEN), ("X-Real-IP", OPEN), ("X-Hydragate-Peer", OPEN))
    assert ask(plane.url, CLOSED, more=spoofed).status == 403


def test_the_other_dialect_is_refused_in_its_own_words(plane: Plane) -> None:
    assert ask(plane.url, OPEN, path=MESSAGES).status == 200
    refused = ask(plane.url, CLOSED, key=LOCAL, path=MESSAGES)
    assert (refused.status, refused.json()["type"]) == (451, "error")
    assert "appeals@gateway.example" in refused.body.decode()
    assert refused.headers["x-hydragate-decision"] in refused.body.decode()
    asked = ask(plane.url, CLOSED, path=MESSAGES)
    assert (asked.status, asked.json()["type"]) == (403, "error")


def test_who_is_in_two_continents_within_seconds_is_asked(
    plane: Plane, request: pytest.FixtureRequest
) -> None:
    key = f"sk-travels-{request.node.callspec.params['plane']}-0123456789"
    agent = f"travels {key}"
    assert ask(plane.url, OPEN, key=key, more=(("User-Agent", agent),)).status == 200
    line_of(plane, agent)  # told and settled, so the account's window knows where it was
    assert ask(plane.url, OPEN, key=key).status == 200, "who stays is not asked"
    answer = ask(plane.url, FAR, key=key, more=(("User-Agent", f"{agent} far"),))
    assert (answer.status, answer.json()["error"]["code"]) == (403, "verification_required")
    assert line_of(plane, f"{agent} far")["reason"] == "too-fast"


# ── Envoy behind a balancer that speaks PROXY ────────────────────────────────────────────────


@pytest.fixture(scope="module")
def proxied_envoy(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("proxied")
    more = {**shipped_regions(folder), "envoy": {"proxy_protocol": True}}
    with (
        deciding(folder, upstream, policy=HEAD, **more) as asked,
        envoy_before(asked.config) as (url, admin, process),
    ):
        yield Plane(url, asked.server, process, asked.config, admin)


def test_envoy_reads_the_proxy_header_and_what_a_client_writes_moves_it_nowhere(
    proxied_envoy: Plane,
) -> None:
    url = proxied_envoy.url
    assert ask(url, proxied=OPEN).status == 200
    assert ask(url, proxied=CLOSED).status == 403
    assert ask(url, proxied=CLOSED, key=LOCAL).status == 451
    spoofed = (("X-Hydragate-Peer", OPEN), ("X-Real-IP", OPEN))
    assert ask(url, OPEN, proxied=CLOSED, more=spoofed).status == 403
    assert ask(url, f"{OPEN}, {BALANCER}", proxied=CLOSED).status == 403
    assert ask(url, CLOSED, proxied=OPEN).status == 200


@pytest.mark.parametrize(
    ("peer", "proxied"),
    [
        pytest.param(BALANCER, None, id="the balancer says nothing"),
        pytest.param(STRANGER, OPEN, id="a stranger says it"),
    ],
)
def test_envoy_closes_a_connection_that_no_balancer_vouches_for(
    proxied_envoy: Plane, peer: str, proxied: str | None
) -> None:
    try:
        answered = ask(proxied_envoy.url, peer=peer, proxied=proxied).status
    except ConnectionError:  # reset while it was still being written to
        answered = 0
    assert answered == 0


def line_of(plane: Plane, user_agent: str) -> dict[str, Any]:
    """Of the decision log; it is flushed four times a second."""
    ends = time.monotonic() + 5
    while True:
        found = [line for line in decisions(plane) if line["facts"]["user_agent"] == user_agent]
        if found:
            return found[0]
        assert time.monotonic() < ends, "no line came"
        time.sleep(0.02)


# ── as proxies before the gateway, which only append ─────────────────────────────────────────

NGINX_CHAIN = """
server {{  # the outer one: the balancer before it tells who calls
    listen 127.0.0.1:{outer} proxy_protocol;
    set_real_ip_from 127.0.0.1;
    real_ip_header proxy_protocol;
    location / {{
        proxy_pass http://127.0.0.1:{inner};
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
}}
server {{
    listen 127.0.0.1:{inner};
    location / {{
        proxy_pass {gateway};
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
}}
"""


@contextlib.contextmanager
def two_nginx(folder: Path, gateway_url: str) -> Iterator[str]:
    outer, inner = free_port(), free_port()
    folder.mkdir()
    site = NGINX_CHAIN.format(outer=outer, inner=inner, gateway=gateway_url)
    (folder / "site.conf").write_text(site)
    process = start_nginx(tool("nginx"), folder)
    try:
        wait_until_open(outer)
        yield f"http://127.0.0.1:{outer}"
    finally:
        process.stop()


@contextlib.contextmanager
def plain_envoy(folder: Path, gateway_url: str) -> Iterator[str]:
    """An Envoy that appends the address which the balancer before it tells."""
    folder.mkdir()
    port, target = free_port(), urlsplit(gateway_url).port
    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "use_remote_address": True,
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{kind}.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "gateway"}}],
                }
            ]
        },
    }
    listener = {
        "address": _address(port),
        "listener_filters": [
            {
                "name": "envoy.filters.listener.proxy_protocol",
                "typed_config": {"@type": f"{kind}.listener.proxy_protocol.v3.ProxyProtocol"},
            }
        ],
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }
    endpoint = {"endpoint": {"address": _address(target or 0)}}
    cluster = {
        "name": "gateway",
        "load_assignment": {
            "cluster_name": "gateway",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    bootstrap = folder / "envoy.yaml"
    resources = {"listeners": [listener], "clusters": [cluster]}
    bootstrap.write_text(yaml.safe_dump({"static_resources": resources}))
    process = ServerProcess(
        [
            *(tool("envoy"), "-c", str(bootstrap), "--concurrency", "1", "--use-dynamic-base-id"),
            *("--log-level", "warning", "--component-log-level", "main:info"),
        ]
    )
    try:
        process.wait_ready("starting main dispatch loop")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@pytest.fixture(scope="module", params=["one-envoy", "two-nginx"])
def edge(
    request: pytest.FixtureRequest,
    deciding_gateway: Plane,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    start = {"one-envoy": plain_envoy, "two-nginx": two_nginx}[request.param]
    with start(tmp_path_factory.mktemp("edge") / "run", deciding_gateway.url) as url:
        yield url


@pytest.mark.parametrize("spoof", [(), (OPEN,), (f"{OPEN}, {BALANCER}",), (f"{OPEN}, " * 100,)])
def test_the_caller_of_the_outermost_proxy_is_the_client(edge: str, spoof: tuple[str, ...]) -> None:
    assert ask(edge, *spoof, proxied=CLOSED).status == 403
    assert ask(edge, *spoof, proxied=CLOSED, key=LOCAL).status == 451
    assert ask(edge, *(line.replace(OPEN, CLOSED) for line in spoof), proxied=OPEN).status == 200
