"""What breaks, and what then happens: each fault has one defined outcome."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.loadtests.driver import LoadResult, Shot, drive, request_bytes
from gateway.loadtests.processes import GatewayProcess, gateway
from tests.waiting import wait_until

from .conftest import GOOD_KEY, ask_admin, metric, write_accounts, write_policy
from .raw_http import chat, post

DENIES = """
version: 1
name: denies
mode: enforce
unknown_credentials: refuse
on_store_error: deny
limits:
  - name: account-requests
    why: must never be passed unseen, so it refuses while the store is away
    by: account
    quota: 600k/min
    cost: requests
    on_store_error: deny
"""
ALLOWS = DENIES.replace("on_store_error: deny", "on_store_error: allow").replace(
    "must never be passed unseen, so it refuses", "must not stop customers, so it lets them by"
)


@pytest.fixture
def denying(upstream: str, tmp_path: Path) -> Iterator[GatewayProcess]:
    with running(upstream, tmp_path, DENIES) as server:
        yield server


@contextmanager
def running(upstream: str, folder: Path, policy: str, *options: str) -> Iterator[GatewayProcess]:
    with gateway(
        folder / "data",
        *("--upstream", upstream, "--policy", str(write_policy(folder / "policy", policy))),
        *("--accounts", str(write_accounts(folder / "accounts.jsonl")), *options),
    ) as server:
        assert post(server.url, chat(), key=GOOD_KEY).status == 200
        yield server


def store_pid(folder: Path) -> int:
    return int((folder / "data" / "store" / "valkey.pid").read_text())


def load(server: GatewayProcess, *, seconds: float, per_s: float = 100) -> LoadResult:
    wire = request_bytes("/v1/chat/completions", chat(max_tokens=3), key=GOOD_KEY)
    shots = (Shot(i / per_s, wire) for i in range(int(seconds * per_s)))
    return asyncio.run(drive(server.url, shots, connections=64, timeout_s=10))


class TestStoreKilled:
    def test_it_is_started_again_and_nobody_sees_a_5xx(
        self, denying: GatewayProcess, tmp_path: Path
    ) -> None:
        timer = threading.Timer(1.0, os.kill, (store_pid(tmp_path), signal.SIGKILL))
        timer.start()
        result = load(denying, seconds=5)
        assert not result.errors
        assert set(result.statuses) <= {200, 429}
        assert result.statuses[200] > 300
        assert wait_until(lambda: post(denying.url, chat(), key=GOOD_KEY).status == 200)

    def test_refusals_meanwhile_say_so_and_when_to_come_back(
        self, denying: GatewayProcess, tmp_path: Path
    ) -> None:
        os.kill(store_pid(tmp_path), signal.SIGSTOP)
        try:
            answer = post(denying.url, chat(), key=GOOD_KEY)
        finally:
            os.kill(store_pid(tmp_path), signal.SIGCONT)
        assert answer.status == 429
        assert answer.headers["retry-after"] == "1"
        assert "store_unavailable" in answer.body.decode()
        assert metric(denying, "hydragate_degraded_total", limit="account-requests") >= 1

    def test_what_people_decided_outlives_it(self, denying: GatewayProcess, tmp_path: Path) -> None:
        ask_admin(denying, "PATCH", "/api/accounts/acc_good", {"status": "banned"})
        time.sleep(1.1)  # the append-only file reaches the disk every second
        os.kill(store_pid(tmp_path), signal.SIGKILL)
        assert wait_until(lambda: ask_admin(denying, "GET", "/api/mode")[0] == 200)
        assert wait_until(lambda: post(denying.url, chat(), key=GOOD_KEY).status == 403)


class TestStoreHanging:
    def test_decisions_stay_under_50_ms_and_recover(
        self, denying: GatewayProcess, tmp_path: Path
    ) -> None:
        """Counted by the gateway itself: bucket bounds of hydragate_decision_seconds."""
        before = decisions(denying)
        os.kill(store_pid(tmp_path), signal.SIGSTOP)
        try:
            result = load(denying, seconds=4)
        finally:
            os.kill(store_pid(tmp_path), signal.SIGCONT)
        assert set(result.statuses) == {429}
        assert wait_until(lambda: decisions(denying)[1] - before[1] >= 400)
        within, total = (now - was for now, was in zip(decisions(denying), before, strict=True))
        assert within >= 0.99 * total
        assert wait_until(lambda: post(denying.url, chat(), key=GOOD_KEY).status == 200, 5)

    def test_a_limit_that_allows_lets_known_callers_by(self, upstream: str, tmp_path: Path) -> None:
        with running(upstream, tmp_path, ALLOWS) as server:
            os.kill(store_pid(tmp_path), signal.SIGSTOP)
            try:
                known = post(server.url, chat(), key=GOOD_KEY)
            finally:
                os.kill(store_pid(tmp_path), signal.SIGCONT)
            assert known.status == 200
            assert metric(server, "hydragate_degraded_total", limit="account-requests") >= 1

    def test_nothing_is_admitted_that_the_policy_says_to_refuse(
        self, denying: GatewayProcess, tmp_path: Path
    ) -> None:
        os.kill(store_pid(tmp_path), signal.SIGSTOP)
        try:
            result = load(denying, seconds=2)
            stranger = post(denying.url, chat(), key="sk-nobody-1234567")
        finally:
            os.kill(store_pid(tmp_path), signal.SIGCONT)
        assert result.statuses[200] == 0
        assert stranger.status == 429


class TestPolicyBroken:
    def test_a_bad_file_keeps_the_old_policy_and_raises_a_metric(
        self, denying: GatewayProcess, tmp_path: Path
    ) -> None:
        path = tmp_path / "policy" / "policy.yaml"
        good = path.read_text()
        path.write_text(good + "rules: [{name: broken\n")
        assert wait_until(
            lambda: metric(denying, "hydragate_policy_reload_total", outcome="failed") == 1
        )
        assert metric(denying, "hydragate_files_refused", file="policy") == 1
        assert post(denying.url, chat(), key=GOOD_KEY).status == 200
        refuse_all = good + (
            "rules:\n  - {name: closed, why: closed for the length of this test,"
            " when: {model: {exists: true}}, on_unknown: no_match, then: {deny: {}}}\n"
        )
        path.write_text(refuse_all)
        assert wait_until(lambda: post(denying.url, chat(), key=GOOD_KEY).status == 403)
        assert metric(denying, "hydragate_policy_reload_total", outcome="ok") == 1
        assert metric(denying, "hydragate_files_refused", file="policy") == 0

    def test_a_worker_that_dies_meanwhile_comes_back_with_the_last_good_policy(
        self, denying: GatewayProcess, tmp_path: Path
    ) -> None:
        (tmp_path / "policy" / "policy.yaml").write_text("rules: [{name: broken\n")
        os.kill(worker_pid(denying), signal.SIGKILL)
        assert wait_until(lambda: metric(denying, "hydragate_worker_restarts_total") == 1)
        assert wait_until(lambda: serves(denying))


class TestDiskFull:
    def test_a_log_that_cannot_be_written_costs_lines_and_no_request(
        self, upstream: str, tmp_path: Path
    ) -> None:
        """/dev/full: a device on which every write fails for lack of space."""
        log = tmp_path / "log"
        log.mkdir()
        (log / "decisions-0.jsonl").symlink_to("/dev/full")
        config = tmp_path / "config.yaml"
        config.write_text(f"log: {{dir: '{log}'}}\nupstreams: [{{url: '{upstream}'}}]\n")
        with gateway(
            tmp_path / "data",
            *("--config", str(config), "--policy", str(write_policy(tmp_path / "policy"))),
            *("--accounts", str(write_accounts(tmp_path / "accounts.jsonl"))),
        ) as server:
            assert post(server.url, chat(), key=GOOD_KEY).status == 200
            assert wait_until(
                lambda: metric(server, "hydragate_log_lines_total", outcome="dropped") >= 1
            )
            (log / "decisions-0.jsonl").unlink()
            assert post(server.url, chat(), key=GOOD_KEY).status == 200
            assert wait_until(
                lambda: metric(server, "hydragate_log_lines_total", outcome="written") >= 1
            )


def decisions(server: GatewayProcess) -> tuple[float, float]:
    """(within 50 ms, all)."""
    name = "hydragate_decision_seconds"
    return metric(server, f"{name}_bucket", le="0.05"), metric(server, f"{name}_count")


def worker_pid(server: GatewayProcess) -> int:
    _, status = ask_admin(server, "GET", "/api/status")
    return int(status["worker_pids"][0])


def serves(server: GatewayProcess) -> bool:
    try:
        return post(server.url, chat(), key=GOOD_KEY).status == 200
    except OSError:
        return False
