"""Ports for servers that must be told theirs before they start.

The system's own choice (port 0) is free only until the next socket of any process: what is given
away here lies below the range that the system chooses from, is never given twice by one process,
and comes from another part of that room in each process that runs a share of the tests.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from functools import cache

FIRST, LAST = 10_240, 32_000  # Linux begins to choose at 32,768, macOS and Windows at 49,152
SHARES = 8


def free_port() -> int:
    """A port of the loopback on which nobody listens, and which no other test was given."""
    for port in _ports():
        if _is_free(port):
            return port
    raise RuntimeError(f"no port between {FIRST} and {LAST} is free")


@cache
def _ports() -> Iterator[int]:
    """This process's share, from a place of its own: another checkout may be running its tests."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (LAST - FIRST) // SHARES
    first, start = FIRST + worker % SHARES * size, os.getpid() * 97 % size
    return iter([first + (start + step) % size for step in range(size)])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port that lately closed is free, one that is listened on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
