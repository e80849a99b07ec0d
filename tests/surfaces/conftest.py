"""Real processes: the stand-in model API and the gateway as its users start them."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.loadtests.processes import GatewayProcess, gateway, standin

from .browser import Browser, browser, chromium

GENEROUS = """
version: 1
name: generous
mode: enforce
unknown_credentials: refuse
on_store_error: deny
limits:
  - name: account-requests
    why: wide enough for every test but those that ask for their own quota
    by: account
    quota: 6000/min
    cost: requests
    on_store_error: deny
  - name: account-tokens
    why: wide enough for every test but those that ask for their own quota
    by: account
    quota: 20M/min
    cost: total_tokens
    on_store_error: allow
  - name: account-concurrency
    why: wide enough for every test but those that ask for their own quota
    by: account
    quota: 200 at once
    cost: concurrency
    on_store_error: allow
"""
GOOD_KEY = "sk-good-0123456789"
TIGHT_KEY = "sk-tight-0123456789"
SLOW_KEY = "sk-slow-0123456789"
BANNED_KEY = "sk-banned-0123456789"
ACCOUNTS: list[dict[str, Any]] = [
    {"account_id": "acc_good", "tier": "scale", "keys": [GOOD_KEY], "key_ids": ["key_good"]},
    {
        "account_id": "acc_tight",
        "tier": "start",
        "keys": [TIGHT_KEY],
        "quotas": {"account-requests": "2/min"},
    },
    {
        "account_id": "acc_slow",
        "tier": "start",
        "keys": [SLOW_KEY],
        "quotas": {"account-requests": "30/min"},
    },
    {"account_id": "acc_banned", "status": "banned", "keys": [BANNED_KEY]},
]


def write_policy(folder: Path, text: str = GENEROUS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.yaml").write_text(text)
    return folder


def write_accounts(path: Path, records: list[dict[str, Any]] | None = None) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records or ACCOUNTS))
    return path


def ask_admin(
    server: GatewayProcess, method: str, path: str, body: object | None = None
) -> tuple[int, Any]:
    """(status, JSON answer) of an admin call with the operator's token."""
    request = urllib.request.Request(
        server.admin + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"authorization": f"Bearer {server.token}", "content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
        return error.code, json.loads(text) if text else None


def metric(server: GatewayProcess, name: str, **labels: str) -> float:
    """The sum of a metric's samples that carry these labels."""
    with urllib.request.urlopen(server.admin + "/metrics", timeout=10) as answer:
        text = answer.read().decode()
    total = 0.0
    for line in text.splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.partition("{")[0] == name and all(
            f'{label}="{wanted}"' in sample for label, wanted in labels.items()
        ):
            total += float(value)
    return total


def standin_stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url + "/standin/stats", timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def standin_requests(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(url + "/standin/requests", timeout=10) as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())
    return found


@pytest.fixture(scope="session")
def upstream() -> Iterator[str]:
    with standin("--time-scale", "0") as url:
        yield url


@pytest.fixture(scope="session")
def server(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One gateway that the tests which change nothing of it share."""
    folder = tmp_path_factory.mktemp("gateway")
    policy = write_policy(folder / "policy")
    accounts = write_accounts(folder / "accounts.jsonl")
    with gateway(
        folder / "data",
        *("--upstream", upstream, "--policy", str(policy), "--accounts", str(accounts)),
    ) as running:
        yield running


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Browser]:
    """A page of a browser of its own; for tests that `needs_chromium` marks."""
    assert chromium is not None
    with browser(chromium, tmp_path / "profile") as one:
        yield one


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where screenshots go: a folder of the developer's choice, or one that is thrown away."""
    folder = Path(os.environ.get("HYDRAGATE_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
