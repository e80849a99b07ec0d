"""A worker that hangs is noticed, told and replaced; one that pauses or drains is left alone."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.loadtests.processes import GatewayProcess, gateway
from gateway.worker_process import HUNG_AFTER_LOOKS, KILLED_AFTER_LOOKS, LOOK_EVERY_S
from tests.waiting import wait_for, wait_until

from .conftest import GOOD_KEY, ask_admin, metric, write_accounts, write_policy
from .raw_http import chat, connect, post, read_answer

# A look comes a second after the last one at the earliest, and on a busy machine later.
NOTICED_S = 6.0 * HUNG_AFTER_LOOKS
REPLACED_S = 4.0 * KILLED_AFTER_LOOKS


@pytest.fixture
def two_workers(upstream: str, tmp_path: Path) -> Iterator[GatewayProcess]:
    with gateway(
        tmp_path / "data",
        *("--upstream", upstream, "--policy", str(write_policy(tmp_path / "policy"))),
        *("--accounts", str(write_accounts(tmp_path / "accounts.jsonl")), "--workers", "2"),
    ) as server:
        yield server


@contextmanager
def paused(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue  # killed: what the test is about


def serving(server: GatewayProcess) -> int:
    """As `/readyz` tells it."""
    _, status = ask_admin(server, "GET", "/readyz")
    return int(status["workers"]["serving"])


def pids(server: GatewayProcess) -> list[int]:
    status: dict[str, Any] = ask_admin(server, "GET", "/api/status")[1]
    return [int(pid) for pid in status["worker_pids"]]


def said(server: GatewayProcess, words: str) -> bool:
    return any(words in line for line in server.output)


def asking(server: GatewayProcess) -> socket.socket:
    """A call whose answer nobody has read yet, on a connection that some worker is to accept."""
    body = chat(max_tokens=2)
    sock = connect(server.url)
    sock.settimeout(REPLACED_S)
    sock.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {GOOD_KEY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return sock


def test_a_hung_worker_stops_counting_and_is_replaced_and_who_waited_is_served(
    two_workers: GatewayProcess,
) -> None:
    hung, healthy = pids(two_workers)
    with paused(hung):
        waiting = [asking(two_workers) for _ in range(16)]
        assert wait_until(lambda: serving(two_workers) == 1, NOTICED_S)
        assert metric(two_workers, "hydragate_workers") == 1
        assert metric(two_workers, "hydragate_worker_hangs_total") == 1
        assert ask_admin(two_workers, "GET", "/readyz")[0] == 503
        assert said(two_workers, f"worker 0 (pid {hung}) hangs")
        assert wait_until(
            lambda: metric(two_workers, "hydragate_worker_restarts_total") == 1, REPLACED_S
        )
        assert wait_until(lambda: serving(two_workers) == 2)
    assert pids(two_workers)[0] != hung
    assert pids(two_workers)[1] == healthy
    for sock in waiting:
        with sock:
            assert read_answer(sock).status == 200


def test_a_worker_that_hung_for_a_moment_counts_again_and_is_not_killed(
    two_workers: GatewayProcess,
) -> None:
    before = pids(two_workers)
    with paused(before[0]):
        assert wait_until(lambda: serving(two_workers) == 1, NOTICED_S)
    assert wait_until(lambda: serving(two_workers) == 2)
    assert wait_until(lambda: said(two_workers, "worker 0 answers again"))
    assert pids(two_workers) == before
    assert metric(two_workers, "hydragate_worker_restarts_total") == 0


def test_a_gateway_that_was_paused_as_a_whole_goes_on_with_the_workers_it_has(
    two_workers: GatewayProcess,
) -> None:
    """As in a virtual machine that is suspended; the supervisor wakes first."""
    before = pids(two_workers)
    with paused(*before), paused(two_workers.process.pid):
        time.sleep(1.2 * KILLED_AFTER_LOOKS * LOOK_EVERY_S)
    assert wait_until(lambda: serving(two_workers) == 2)
    assert pids(two_workers) == before
    assert metric(two_workers, "hydragate_worker_hangs_total") == 0


def test_a_worker_that_drains_is_left_to_its_deadline(upstream: str, tmp_path: Path) -> None:
    """Stopped while the gateway drains, for longer than a hung one is left alive."""
    config = tmp_path / "config.yaml"
    drain_s = KILLED_AFTER_LOOKS + 5
    config.write_text(f"drain_s: {drain_s}\nupstreams: [{{url: '{upstream}'}}]\n")
    with gateway(
        tmp_path / "data",
        *("--config", str(config), "--policy", str(write_policy(tmp_path / "policy"))),
        *("--accounts", str(write_accounts(tmp_path / "accounts.jsonl"))),
    ) as server:
        assert post(server.url, chat(), key=GOOD_KEY).status == 200
        (worker,) = pids(server)
        with paused(worker):
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: said(server, "draining"))
            assert server.process.wait(3 * drain_s) == 0
    assert wait_until(lambda: said(server, "did not drain in time"))
    assert not said(server, "hangs")
