"""Several workers and several gateways on one store: limits hold, changes hold at once."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.loadtests.driver import LoadResult, Outcome, Shot, drive, request_bytes
from gateway.loadtests.processes import GatewayProcess, gateway
from gateway.loadtests.servers.valkey import server as valkey_server

from .conftest import ask_admin, write_accounts, write_policy
from .raw_http import chat, connect, post

KEY = "sk-shared-0123456789"
LIMIT_PER_S, BURST = 50, 50
POLICY = f"""
version: 1
name: tight
mode: enforce
unknown_credentials: refuse
on_store_error: deny
limits:
  - name: account-requests
    why: narrow, so that a test sees it hold over workers and gateways
    by: account
    quota: {LIMIT_PER_S}/s
    burst: {BURST}
    cost: requests
    on_store_error: deny
  - name: account-concurrency
    why: narrow, so that a test sees leases lapse and be freed
    by: account
    quota: 40 at once
    cost: concurrency
    lease: 3s
    on_store_error: deny
  - name: trial-concurrency
    why: so narrow that a test sees which tier an account is on
    by: account
    tiers: {{trial: 1 at once}}
    cost: concurrency
    lease: 30s
    on_store_error: deny
"""
ACCOUNTS: list[dict[str, Any]] = [{"account_id": "acc_shared", "tier": "start", "keys": [KEY]}]


@pytest.fixture(scope="module")
def pair(
    upstream: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    """Two gateways, four workers in all, one store, one secret."""
    folder = tmp_path_factory.mktemp("pair")
    secret = folder / "secret"
    secret.write_text("a secret that both of them know\n")
    secret.chmod(0o600)
    policy = write_policy(folder / "policy", POLICY)
    accounts = write_accounts(folder / "accounts.jsonl", ACCOUNTS)
    with ExitStack() as stack:
        store = stack.enter_context(valkey_server(folder))
        options = (
            *("--upstream", upstream, "--policy", str(policy), "--accounts", str(accounts)),
            *("--store", store.url, "--secret-file", str(secret), "--workers", "2"),
        )
        first = stack.enter_context(gateway(folder / "one", *options))
        second = stack.enter_context(gateway(folder / "two", *options))
        yield first, second


def stream_of(server: GatewayProcess, controls: str) -> socket.socket:
    """A streaming call under way."""
    body = chat(stream=True)
    sock = connect(server.url)
    sock.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\n"
        f"x-standin: {controls}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return sock


def test_the_bound_holds_over_any_window(pair: tuple[GatewayProcess, GatewayProcess]) -> None:
    """admitted ≤ quota · window + burst, for every window between two admissions."""
    wire = request_bytes("/v1/chat/completions", chat(max_tokens=2), key=KEY)
    seconds, per_s = 4.0, 150.0
    served: list[float] = []
    statuses: Counter[int] = Counter()

    def on_result(shot: Shot, outcome: Outcome) -> None:
        statuses[outcome.status] += 1
        if outcome.status == 200:
            served.append(time.monotonic())

    async def both() -> list[LoadResult]:
        shots = [Shot(i / per_s, wire) for i in range(int(seconds * per_s))]
        return await asyncio.gather(
            *(drive(s.url, shots, connections=16, on_result=on_result) for s in pair)
        )

    results = asyncio.run(both())
    assert not any(result.errors for result in results)
    assert set(statuses) == {200, 429}
    served.sort()
    # An answer reaches us later than its admission by at most the slowest answer's latency.
    slack_s = max(result.latencies.quantile(1.0) for result in results)
    for first in range(0, len(served), 5):
        for last in range(first, len(served), 5):
            window_s = served[last] - served[first] + slack_s
            assert last - first + 1 <= LIMIT_PER_S * window_s + BURST
    assert len(served) >= 0.9 * LIMIT_PER_S * seconds  # and it is no tighter than it says


@pytest.mark.parametrize(
    ("change", "undo", "status"),
    [
        pytest.param({"status": "banned"}, {"status": "active"}, 403, id="banned"),
        pytest.param({"keys": []}, {"keys": [KEY]}, 401, id="key revoked"),
    ],
)
def test_a_change_holds_on_the_next_request_of_every_worker(
    pair: tuple[GatewayProcess, GatewayProcess],
    change: dict[str, Any],
    undo: dict[str, Any],
    status: int,
) -> None:
    time.sleep(1.2)  # the bucket fills again
    for server in pair:
        for _ in range(12):
            assert post(server.url, chat(max_tokens=2), key=KEY).status == 200
        time.sleep(0.5)
    assert ask_admin(pair[0], "PATCH", "/api/accounts/acc_shared", change)[0] == 200
    statuses = {post(s.url, chat(max_tokens=2), key=KEY).status for s in pair for _ in range(12)}
    assert statuses == {status}
    assert ask_admin(pair[1], "PATCH", "/api/accounts/acc_shared", undo)[0] == 200
    statuses = {post(s.url, chat(max_tokens=2), key=KEY).status for s in pair for _ in range(6)}
    assert statuses == {200}


def test_a_changed_quota_holds_on_the_next_request(
    pair: tuple[GatewayProcess, GatewayProcess],
) -> None:
    time.sleep(2)
    lowered = {"quotas": {"account-concurrency": "1 at once", "account-requests": "600/min"}}
    ask_admin(pair[0], "PATCH", "/api/accounts/acc_shared", lowered)
    with stream_of(pair[0], "latency=5"):
        threading.Event().wait(0.5)
        assert [post(s.url, chat(max_tokens=2), key=KEY).status for s in pair] == [429, 429]
        ask_admin(pair[1], "PATCH", "/api/accounts/acc_shared", {"quotas": {}})
        assert [post(s.url, chat(max_tokens=2), key=KEY).status for s in pair] == [200, 200]


def test_a_raised_tier_holds_on_the_next_request_of_every_worker(
    pair: tuple[GatewayProcess, GatewayProcess],
) -> None:
    time.sleep(2)
    ask_admin(pair[0], "PATCH", "/api/accounts/acc_shared", {"tier": "trial"})
    with stream_of(pair[0], "latency=20"):
        threading.Event().wait(0.5)
        refused = [post(s.url, chat(max_tokens=2), key=KEY) for s in pair for _ in range(12)]
        assert {answer.status for answer in refused} == {429}
        ask_admin(pair[1], "PATCH", "/api/accounts/acc_shared", {"tier": "start"})
        raised = [post(s.url, chat(max_tokens=2), key=KEY) for s in pair for _ in range(12)]
        assert {answer.status for answer in raised} == {200}


def test_the_kill_switch_holds_on_every_replica_with_its_next_request(
    pair: tuple[GatewayProcess, GatewayProcess],
) -> None:
    tight = {"quotas": {"account-concurrency": "1 at once"}}
    ask_admin(pair[0], "PATCH", "/api/accounts/acc_shared", tight)
    try:
        assert ask_admin(pair[0], "PUT", "/api/mode", {"mode": "shadow-all"})[0] == 200
        statuses = {post(s.url, chat(), key=KEY).status for s in pair for _ in range(60)}
        assert statuses == {200}  # over every limit, and served
        assert post(pair[1].url, chat(), key="sk-nobody-123456").status == 401
    finally:
        ask_admin(pair[1], "PUT", "/api/mode", {"mode": "normal"})
        ask_admin(pair[0], "PATCH", "/api/accounts/acc_shared", {"quotas": {}})


def test_leases_of_a_killed_worker_lapse_by_themselves(
    pair: tuple[GatewayProcess, GatewayProcess],
) -> None:
    time.sleep(2)
    server = pair[0]
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(stream_of(server, "latency=20"))
        threading.Event().wait(0.5)
        assert post(pair[1].url, chat(), key=KEY).status == 429
        for pid in ask_admin(server, "GET", "/api/status")[1]["worker_pids"]:
            os.kill(pid, signal.SIGKILL)
        threading.Event().wait(3.5)
        assert post(pair[1].url, chat(), key=KEY).status == 200


def test_another_gateway_on_the_same_port_is_an_error(
    pair: tuple[GatewayProcess, GatewayProcess], upstream: str, tmp_path: Path
) -> None:
    port = pair[1].url.rpartition(":")[2]
    policy = write_policy(tmp_path / "policy", POLICY)
    with pytest.raises(RuntimeError, match="cannot listen on"):
        GatewayProcess(
            tmp_path / "data",
            *("--upstream", upstream, "--policy", str(policy), "--port", port),
        )


def test_a_store_of_another_secret_is_refused(
    pair: tuple[GatewayProcess, GatewayProcess], upstream: str, tmp_path: Path
) -> None:
    store = next(line for line in pair[0].command if line.startswith(("redis", "valkey", "unix")))
    policy = write_policy(tmp_path / "policy", POLICY)
    with pytest.raises(RuntimeError, match="another secret"):
        GatewayProcess(
            tmp_path / "data",
            *("--upstream", upstream, "--policy", str(policy), "--store", store),
        )
