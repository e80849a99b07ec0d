"""Every test here runs on both event loops, and none may leave anything behind."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from .peer import connections_alive, until


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """No task, no socket, and no connection, which a pending timer would keep alive."""
    sockets, tasks = open_sockets(), len(asyncio.all_tasks())
    yield
    await until(lambda: open_sockets() == sockets and len(asyncio.all_tasks()) == tasks)
    gc.collect()
    assert connections_alive() == []


def open_sockets() -> set[int]:
    return {fd for fd in map(int, os.listdir("/dev/fd")) if _is_socket(fd)}


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:  # the one that listed the folder
        return False
