"""SIGHUP, by hand or from a terminal that closes: files are looked at, and nobody ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from gateway.loadtests.processes import GatewayProcess, ServerProcess, gateway
from gateway.loadtests.servers.valkey import server as valkey_server
from tests.waiting import wait_until

from .conftest import GENEROUS, GOOD_KEY, ask_admin, metric, write_accounts, write_policy
from .raw_http import chat, connect, post, read_answer

REFUSES_ALL = GENEROUS + (
    "rules:\n  - {name: closed, why: closed for the length of this test,"
    " when: {model: {exists: true}}, on_unknown: no_match, then: {deny: {}}}\n"
)
# A session leader whose terminal is the one given as its input; then the command after it.
IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def options(upstream: str, folder: Path, *more: str) -> tuple[str, ...]:
    """Two workers that by themselves look at the policy once a day."""
    config = folder / "config.yaml"
    config.write_text(f"policy_poll_s: 86400\nupstreams: [{{url: '{upstream}'}}]\n")
    return (
        *("--config", str(config), "--policy", str(write_policy(folder / "policy"))),
        *("--accounts", str(write_accounts(folder / "accounts.jsonl")), "--workers", "2", *more),
    )


@pytest.fixture
def server(upstream: str, tmp_path: Path) -> Iterator[GatewayProcess]:
    with gateway(tmp_path / "data", *options(upstream, tmp_path)) as running:
        yield running


def children(server: GatewayProcess, folder: Path) -> list[int]:
    """Workers, linker and store."""
    status = ask_admin(server, "GET", "/api/status")[1]
    store = int((folder / "data" / "store" / "valkey.pid").read_text())
    return [*status["worker_pids"], status["linker_pid"], store]


def statuses(url: str) -> set[int]:
    """Of enough calls that every worker gets some."""
    return {post(url, chat(max_tokens=2), key=GOOD_KEY).status for _ in range(24)}


def test_every_worker_looks_at_the_policy_at_once(server: GatewayProcess, tmp_path: Path) -> None:
    write_policy(tmp_path / "policy", REFUSES_ALL)
    assert statuses(server.url) == {200}
    server.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: statuses(server.url) == {403})
    assert metric(server, "hydragate_policy_reload_total", outcome="ok") == 2
    assert any("serving goes on" in line for line in server.output)


def test_no_process_ends_and_what_is_under_way_goes_on(
    server: GatewayProcess, tmp_path: Path
) -> None:
    before = children(server, tmp_path)
    body = chat(stream=True)
    with connect(server.url) as sock:
        sock.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {GOOD_KEY}\r\n"
            "x-standin: latency=2,tokens=20,chunk-delay=0.05\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert wait_until(lambda: metric(server, "hydragate_inflight") == 1)
        for pid in (server.process.pid, *before):
            os.kill(pid, signal.SIGHUP)
        answer = read_answer(sock)
    assert answer.status == 200
    assert b"[DONE]" in answer.body
    assert wait_until(lambda: metric(server, "hydragate_exchanges_total", outcome="complete") == 1)
    assert children(server, tmp_path) == before
    for what in ("worker", "linker", "store"):
        assert metric(server, f"hydragate_{what}_restarts_total") == 0
    assert server.stop() == 0


@contextmanager
def in_a_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], BinaryIO]]:
    """A process with a terminal of its own, and the side of it that a person sees and closes."""
    seen, own = os.openpty()
    with os.fdopen(seen, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [sys.executable, "-c", IN_A_TERMINAL, *arguments],
            stdin=own,
            stdout=own,
            stderr=own,
            start_new_session=True,
        )
        os.close(own)
        try:
            yield process, terminal
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def read_until(terminal: BinaryIO, words: bytes) -> str:
    said = b""
    while words not in said or not said.endswith(b"\n"):
        said += terminal.read(4096)
    return said.decode()


def is_ready(admin: str) -> bool:
    with urllib.request.urlopen(admin + "/readyz", timeout=10) as answer:
        return bool(answer.status == 200)


def test_a_gateway_outlives_its_terminal_and_still_drains(upstream: str, tmp_path: Path) -> None:
    command = ("-m", "gateway.cli", "serve", "--port", "0", "--admin-port", "0")
    data = ("--data-dir", str(tmp_path / "data"))
    with in_a_terminal(*command, *data, *options(upstream, tmp_path)) as (process, terminal):
        urls = re.findall(r"http://[\d.:]+", read_until(terminal, b"hydragate ready"))
        url, admin = urls[0], urls[-1]
        write_policy(tmp_path / "policy", REFUSES_ALL)
        terminal.close()
        assert wait_until(lambda: statuses(url) == {403})  # it got the signal
        assert is_ready(admin)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not (tmp_path / "data" / "store" / "valkey.pid").exists()  # the store was stopped too


def test_a_linker_of_its_own_outlives_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret that both of them know\n")
    secret.chmod(0o600)
    with valkey_server(tmp_path) as store:
        linker = ServerProcess(
            [
                *(sys.executable, "-m", "gateway.cli", "linker"),
                *("--store", store.url, "--secret-file", str(secret)),
            ]
        )
        try:
            linker.wait_ready("leading")
            linker.process.send_signal(signal.SIGHUP)
            # Signals arrive in order of their numbers: had HUP (1) ended it, TERM (15) would not.
            assert linker.stop() == 0
        finally:
            linker.stop()
