"""A store that comes back empty under a gateway that runs: told, and filled as a start would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.loadtests.processes import GatewayProcess, gateway
from gateway.loadtests.servers.valkey import Server
from gateway.loadtests.servers.valkey import server as valkey_server
from tests.waiting import wait_until

from .conftest import GOOD_KEY, ask_admin, metric, write_accounts, write_policy
from .raw_http import chat, post

LOST = "the store has lost what it held"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with valkey_server(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as one:
        yield one


@pytest.fixture
def running(upstream: str, tmp_path: Path, store: Server) -> Iterator[GatewayProcess]:
    with gateway(
        tmp_path / "data",
        *("--upstream", upstream, "--policy", str(write_policy(tmp_path / "policy"))),
        *("--accounts", str(write_accounts(tmp_path / "accounts.jsonl")), "--store", store.url),
    ) as server:
        yield server


def status_of_a_call(server: GatewayProcess) -> int:
    return post(server.url, chat(), key=GOOD_KEY).status


def said(server: GatewayProcess, words: str) -> int:
    return sum(words in line for line in server.output)


def test_callers_of_the_accounts_file_are_served_again(
    running: GatewayProcess, store: Server
) -> None:
    assert status_of_a_call(running) == 200
    assert metric(running, "hydragate_store_losses_total") == 0
    with store.client() as client:
        client.flushall()
    assert wait_until(lambda: metric(running, "hydragate_store_losses_total") == 1)
    assert status_of_a_call(running) == 200
    assert said(running, LOST) == 1


def test_a_store_that_was_only_away_has_lost_nothing(
    running: GatewayProcess, store: Server
) -> None:
    status, _ = ask_admin(running, "PATCH", "/api/accounts/acc_good", {"status": "banned"})
    assert status == 200
    store.stop()
    store.start()
    assert wait_until(lambda: status_of_a_call(running) == 403)
    assert wait_until(lambda: ask_admin(running, "GET", "/readyz")[1]["store"] == "ok")
    assert metric(running, "hydragate_store_losses_total") == 0
    assert said(running, LOST) == 0


def test_an_accounts_file_that_is_broken_by_then_is_told(
    running: GatewayProcess, store: Server, tmp_path: Path
) -> None:
    (tmp_path / "accounts.jsonl").write_text(json.dumps({"no": "account"}) + "\n")
    with store.client() as client:
        client.flushall()
    assert wait_until(lambda: said(running, "none of its 1 records can be used") == 1)
    assert metric(running, "hydragate_store_losses_total") == 1
    assert status_of_a_call(running) == 401


def test_a_store_that_takes_no_writes_shows_in_the_readiness(
    running: GatewayProcess, store: Server
) -> None:
    """Reads go on, so that only a write tells."""

    def shown() -> str:
        status, told = ask_admin(running, "GET", "/readyz")
        assert status == 200
        return str(told["store"])

    with store.client() as client:
        client.config_set("maxmemory", "1mb")
        assert wait_until(lambda: shown() == "degraded: refused")
        status, answer = ask_admin(running, "PUT", "/api/mode", {"mode": "shadow-all"})
        assert status == 503
        assert "refuses: OutOfMemoryError" in answer["detail"]
        client.config_set("maxmemory", "0")
    assert wait_until(lambda: shown() == "ok")
    assert said(running, LOST) == 0
