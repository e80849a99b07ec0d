"""The demo leaves nothing running, however it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_told_to_end_takes_its_servers_along(
    number: signal.Signals, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    store = out / "data" / "store" / "valkey.pid"
    demo = subprocess.Popen(
        [
            *(sys.executable, "-m", "gateway.cli", "demo", "--out", str(out)),
            *("--seconds", "60", "--scale", "0.05"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        assert wait_until(lambda: store.is_file() and store.read_text().strip() != "", 60)
        pid = int(store.read_text())
        demo.send_signal(number)
        assert demo.wait(30) == 128 + number
    finally:
        demo.kill()
        demo.wait()
    assert wait_until(lambda: not is_running(pid), 10)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
