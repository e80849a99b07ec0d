"""Out of descriptors: a worker tells of it, for its callers are cut off without a word; a
supervisor cannot start what died, says so, and does once it can."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from gateway.loadtests.processes import GatewayProcess, gateway
from tests.waiting import wait_until

from .conftest import GOOD_KEY, ask_admin, metric, write_accounts, write_policy
from .raw_http import chat, post

NONE_MORE = 3  # those that are open stay so


def said(server: GatewayProcess, words: str) -> bool:
    return any(words in line for line in server.output)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_what_died_while_no_descriptor_was_left_is_started_once_there_are_some(
    upstream: str, tmp_path: Path
) -> None:
    with gateway(
        tmp_path / "data",
        *("--upstream", upstream, "--policy", str(write_policy(tmp_path / "policy"))),
        *("--accounts", str(write_accounts(tmp_path / "accounts.jsonl"))),
    ) as server:
        status = ask_admin(server, "GET", "/api/status")[1]
        before = (*status["worker_pids"], status["linker_pid"])
        supervisor = server.process.pid
        limits = resource.prlimit(supervisor, resource.RLIMIT_NOFILE)
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (NONE_MORE, limits[1]))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: said(server, "worker 0 cannot be started: "))
        assert wait_until(lambda: said(server, "the linker cannot be started: "))
        resource.prlimit(supervisor, resource.RLIMIT_NOFILE, limits)
        assert wait_until(lambda: ask_admin(server, "GET", "/readyz")[1]["ready"], 40)
        assert post(server.url, chat(), key=GOOD_KEY).status == 200
        after = ask_admin(server, "GET", "/api/status")[1]
        assert {*after["worker_pids"], after["linker_pid"]}.isdisjoint(before)
        os.kill(after["linker_pid"], 0)
        server.stop()
        assert server.process.returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_a_worker_at_its_limit_is_told_by_log_and_metric(upstream: str, tmp_path: Path) -> None:
    with gateway(
        tmp_path / "data",
        *("--upstream", upstream, "--policy", str(write_policy(tmp_path / "policy"))),
        *("--accounts", str(write_accounts(tmp_path / "accounts.jsonl"))),
    ) as server:
        name = "hydragate_worker_descriptors_ratio"
        assert 0 < metric(server, name) < 0.5
        (worker,) = ask_admin(server, "GET", "/api/status")[1]["worker_pids"]
        limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (NONE_MORE, limits[1]))
        assert wait_until(lambda: metric(server, name) == 1)
        assert said(server, "file descriptors are in use: new connections are cut off")
        resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
        assert wait_until(lambda: metric(server, name) < 0.5)
        assert post(server.url, chat(), key=GOOD_KEY).status == 200
