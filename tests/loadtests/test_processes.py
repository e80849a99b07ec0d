"""A server is never left behind by whoever waited for it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from gateway.loadtests.processes import ServerProcess

MUTE = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]


class ToldToEndError(BaseException):
    """What a handler of signals raises, such as SystemExit."""


def leave(number: int, _: FrameType | None) -> None:
    raise ToldToEndError


def test_a_signal_while_it_starts_ends_it_too() -> None:
    server = ServerProcess(MUTE)
    server.wait_ready("begun")
    before: Callable[..., object] | int | None = signal.signal(signal.SIGALRM, leave)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(ToldToEndError):
            server.wait_ready("never said")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert server.process.returncode == -signal.SIGTERM


def test_one_that_ends_before_it_is_ready_is_said_with_its_words() -> None:
    server = ServerProcess([sys.executable, "-c", "print('no room here')"])
    with pytest.raises(RuntimeError, match="no room here"):
        server.wait_ready("ready")
    with pytest.raises(ProcessLookupError):
        os.killpg(server.process.pid, 0)
