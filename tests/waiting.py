"""Waiting for what another process does: asked again and again, and given up after a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
EVERY_S = 0.05


def wait_until(holds: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Whether it holds, as soon as it does; False after `seconds`."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if holds():
            return True
        time.sleep(EVERY_S)
    return holds()


def wait_for(found: Callable[[], T | None], seconds: float = 15.0) -> T:
    """What `found` gives once it is worth anything; fails after `seconds`."""
    ends = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < ends:
        time.sleep(EVERY_S)
    assert value, f"it did not come within {seconds:g} s"
    return value
