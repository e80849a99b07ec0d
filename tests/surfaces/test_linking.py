"""Linking as operators see it: traffic over HTTP, clusters by the command, the linker killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.loadtests.processes import GatewayProcess, gateway
from gateway.loadtests.servers.valkey import server as valkey_server

from .conftest import ask_admin, metric, write_accounts, write_policy
from .operator import run
from .raw_http import chat, post

POOL = 40
SYSTEM = (
    "You grade answers by a rubric of nine points and return nothing but strict JSON with them."
)
WAIT_S = 30.0
CONFIG = "linker: {tick_s: 0.1, snapshot_s: 0.5, lease_s: 1}\n"


def pool_accounts() -> list[dict[str, Any]]:
    """Bought in batches: a card for four, an address for five, a domain for every ninth."""
    return [
        {
            "account_id": f"pool_{n}",
            "tier": "scale",
            "keys": [f"sk-pool-{n:04}-0123456789"],
            "payment_fingerprint": f"card-{n // 4}",
            "signup_ip": f"198.51.100.{n // 5}",
            "email_domain": f"mail{n % 9}.example.org",
        }
        for n in range(POOL)
    ]


def send_all(running: GatewayProcess) -> None:
    body = chat(messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Go"}])
    for n in range(POOL):
        assert post(running.url, body, key=f"sk-pool-{n:04}-0123456789").status == 200


def clusters(running: GatewayProcess, folder: Path, *args: str) -> str:
    told = subprocess.run(
        [
            *(sys.executable, "-m", "gateway.cli", "clusters", *args),
            *("--admin", running.admin, "--token-file", str(folder / "admin-token")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def until_linked(running: GatewayProcess) -> str:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        found = {cluster_of(running, n) for n in (0, POOL // 2, POOL - 1)}
        if len(found) == 1 and None not in found:
            return str(found.pop())
        time.sleep(0.1)
    raise AssertionError(f"no cluster in {WAIT_S} s:\n" + "".join(running.output))


def cluster_of(running: GatewayProcess, n: int) -> str | None:
    found: str | None = ask_admin(running, "GET", f"/api/accounts/pool_{n}")[1]["cluster_id"]
    return found


@pytest.fixture
def config(tmp_path: Path, upstream: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG + f"upstreams: [{{url: '{upstream}'}}]\n")
    return path


@pytest.fixture
def running(tmp_path: Path, config: Path) -> Iterator[GatewayProcess]:
    policy = write_policy(tmp_path / "policy")
    accounts = write_accounts(tmp_path / "accounts.jsonl", pool_accounts())
    options = ("--config", str(config), "--policy", str(policy), "--accounts", str(accounts))
    with gateway(tmp_path / "data", *options) as one:
        yield one


def test_a_pool_is_linked_explained_and_dismissed(running: GatewayProcess, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    send_all(running)
    cluster_id = until_linked(running)
    assert cluster_id in clusters(running, folder, "list")
    text = clusters(running, folder, "explain", cluster_id)
    assert f"{POOL} accounts" in text
    assert "payment" in text
    assert metric(running, "hydragate_clusters", state="suspected") == 1
    assert metric(running, "hydragate_cluster_accounts", state="suspected") == POOL
    assert metric(running, "hydragate_evidence_pairs_total") >= 4 * POOL
    decided = ("dismiss", cluster_id, "--by", "ada", "--reason", "one agency, known to us")
    assert json.loads(clusters(running, folder, *decided))["state"] == "dismissed"
    (line,) = clusters(running, folder, "export").splitlines()
    assert json.loads(line)["reason"] == "one agency, known to us"
    audit = [json.loads(one) for one in (folder / "audit.jsonl").read_text().splitlines()]
    kept = [one for one in audit if one["action"] == "cluster.dismiss"]
    assert [(one["by"], one["target"], one["outcome"]) for one in kept] == [
        ("ada", cluster_id, "asked"),
        ("ada", cluster_id, "done"),
    ]
    assert (folder / "audit.jsonl").stat().st_mode & 0o077 == 0


PIN = {"decision": "pin", "cluster_id": None, "accounts": ["a_1"], "by": "x", "at_us": 1}


@pytest.mark.parametrize(
    ("lines", "said", "imported"),
    [
        pytest.param(
            [json.dumps(PIN | {"reason": "y"}), "", json.dumps(PIN)],
            ["3: lacks reason"],
            1,
            id="a line that lacks something costs no other",
        ),
        pytest.param(
            [json.dumps(PIN | {"reason": "y"}), "{", "[]"],
            ["2: is no JSON", "3: must be an object"],
            None,
            id="what is no object costs them all",
        ),
    ],
)
def test_an_import_of_decisions_names_the_lines_that_are_bad(
    running: GatewayProcess,
    tmp_path: Path,
    lines: list[str],
    said: list[str],
    imported: int | None,
) -> None:
    file = tmp_path / "decisions.jsonl"
    file.write_text("\n".join(lines))
    words = ("clusters", "import", str(file), "--by", "ada", "--reason", "a move")
    result = run(running, *words)
    assert result.exit_code == 1
    found = result.stderr.splitlines()
    assert len(found) == len(said)
    assert all(line.startswith(f"{file}:{text}") for line, text in zip(found, said, strict=True))
    assert (json.loads(result.stdout)["imported"] if result.stdout else None) == imported


def test_a_killed_linker_leaves_clusters_in_force_and_comes_back(
    running: GatewayProcess, tmp_path: Path
) -> None:
    send_all(running)
    cluster_id = until_linked(running)
    pid = ask_admin(running, "GET", "/api/status")[1]["linker_pid"]
    os.kill(pid, signal.SIGKILL)
    assert cluster_of(running, 0) == cluster_id
    send_all(running)
    deadline_s = time.monotonic() + WAIT_S
    while not clusters(running, tmp_path / "data", "list", "--json").count(cluster_id):
        assert time.monotonic() < deadline_s
    assert metric(running, "hydragate_linker_restarts_total") == 1


def test_the_admin_api_asks_for_the_token_and_for_a_reason(running: GatewayProcess) -> None:
    path = "/api/clusters/cl_none/confirm"
    status, answer = ask_admin(running, "POST", path, {"by": "ada", "reason": "r"})
    assert status == 404
    assert "cl_none" in answer["detail"]
    assert ask_admin(running, "POST", path, {"by": "ada"})[0] == 422
    assert ask_admin(running, "POST", path, {"by": "ada", "reason": ""})[0] == 422


def test_a_linker_of_its_own_serves_gateways_that_run_none(
    tmp_path: Path, config: Path, upstream: str
) -> None:
    policy = write_policy(tmp_path / "policy")
    accounts = write_accounts(tmp_path / "accounts.jsonl", pool_accounts())
    config.write_text(config.read_text().replace("linker: {", "linker: {run: false, "))
    secret = tmp_path / "secret"
    secret.write_text("a secret that both of them know\n")
    secret.chmod(0o600)
    with valkey_server(tmp_path) as store:
        common = ("--config", str(config), "--store", store.url, "--secret-file", str(secret))
        options = (*common, "--policy", str(policy), "--accounts", str(accounts))
        with gateway(tmp_path / "data", *options) as one:
            send_all(one)
            assert ask_admin(one, "GET", "/api/status")[1]["linker_pid"] is None
            linker = subprocess.Popen([sys.executable, "-m", "gateway.cli", "linker", *common])
            try:
                until_linked(one)
            finally:
                linker.send_signal(signal.SIGTERM)
                assert linker.wait(20) == 0
            assert cluster_of(one, 0) is not None
