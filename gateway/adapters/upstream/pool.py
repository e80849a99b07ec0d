"""Which connection carries the next request: the last one used, a new one, or the next free.

Every connection that is open or being opened holds one slot of `max_connections`. While
anybody waits no slot is free: what becomes free goes to whoever waited longest.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ...errors import UpstreamError
from .connection import Connection
from .port import UpstreamSettings

Dial = Callable[[], Awaitable[Connection]]
CLOSE_TIMEOUT_S = 1.0  # for the loop to close sockets that are aborted already
Waiter = asyncio.Future[Connection | None]  # None: a slot, to open a connection in


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """`connections` counts those being opened too; `waiting` are requests without one."""

    connections: int
    idle: int
    waiting: int


class Pool:
    """Bounded keep-alive pool of one upstream, for one event loop."""

    def __init__(self, settings: UpstreamSettings, dial: Dial) -> None:
        self._settings = settings
        self._dial = dial
        self._idle: dict[Connection, None] = {}  # last in, first out
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()  # first in, first out
        self._sockets: set[Connection] = set()
        self._slots_used = 0
        self._is_closing = False  # nothing new begins
        self._is_closed = False  # nothing goes on
        self._empty: asyncio.Future[None] | None = None

    def take(self) -> Connection | None:
        """The idle connection that was used last; those found closed are dropped."""
        while self._idle:
            connection = self._idle.popitem()[0]
            if connection.is_ready():
                return connection
            connection.close()
        return None

    async def acquire(self) -> Connection:
        """A connection that is ready. Raises UpstreamError, always unsent.

        `pool_timeout_s` bounds the wait for a slot, `connect_timeout_s` opening a connection.
        """
        if self._is_closing:
            raise UpstreamError("connect_failed", "the client is closed", sent=False)
        deadline_s = asyncio.get_running_loop().time() + self._settings.pool_timeout_s
        while True:
            connection = self.take()
            if connection is None and self._slots_used < self._settings.max_connections:
                self._slots_used += 1
                return await self._open()
            connection = connection or await self._wait(deadline_s)
            if connection is None:
                return await self._open()
            if connection.is_ready():
                return connection
            connection.close()  # lost on the way here

    def release(self, connection: Connection) -> None:
        if self._is_closing:
            connection.close()
        elif not self._pass_on(connection):
            if len(self._idle) < self._settings.max_idle_connections:
                self._idle[connection] = None
            else:
                connection.close()

    def closed(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._free_slot()

    def lost(self, connection: Connection) -> None:
        self._sockets.discard(connection)
        self._notice_emptiness()

    def usage(self) -> PoolUsage:
        return PoolUsage(self._slots_used, len(self._idle), len(self._waiters))

    async def aclose(self, *, drain_s: float) -> None:
        """Close what is idle now, the rest when it is over, or after `drain_s` in any case."""
        self._is_closing = True
        for connection in tuple(self._idle):
            connection.close()
        await self._wait_until_empty(drain_s)
        self._is_closed = True
        while self._waiters:
            waiter = self._waiters.popitem()[0]
            if not waiter.done():
                waiter.set_exception(_exhausted("the client is closing"))
        fault = UpstreamError("reset", "the client is closing", sent=True)
        for connection in tuple(self._sockets):
            connection.fail(fault)
        await self._wait_until_empty(CLOSE_TIMEOUT_S)

    async def _open(self) -> Connection:
        """Open a connection in a slot that is ours already."""
        try:
            connection = await self._dial()
        except BaseException:
            self._free_slot()
            raise
        if self._is_closed or not connection.is_ready():
            connection.close()
            self._free_slot()
            raise UpstreamError("connect_failed", "closed right after connecting", sent=False)
        connection.owner = self
        self._sockets.add(connection)
        return connection

    async def _wait(self, deadline_s: float) -> Connection | None:
        if len(self._waiters) >= self._settings.max_waiting:
            raise _exhausted("too many requests wait for a connection")
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        self._waiters[waiter] = None
        timer = loop.call_at(deadline_s, _give_up, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise
        finally:
            timer.cancel()
            self._waiters.pop(waiter, None)

    def _give_back(self, waiter: Waiter) -> None:
        """What a waiter got in the moment it was cancelled goes to the next."""
        if waiter.cancelled() or not waiter.done() or waiter.exception() is not None:
            return
        connection = waiter.result()
        if connection is None:
            self._free_slot()
        else:
            self.release(connection)

    def _pass_on(self, free: Connection | None) -> bool:
        while self._waiters:
            waiter = self._waiters.popitem(last=False)[0]
            if not waiter.done():
                waiter.set_result(free)
                return True
        return False

    def _free_slot(self) -> None:
        if not self._pass_on(None):
            self._slots_used -= 1
            self._notice_emptiness()

    def _notice_emptiness(self) -> None:
        waiter = self._empty
        if waiter is not None and self._is_empty() and not waiter.done():
            waiter.set_result(None)

    def _is_empty(self) -> bool:
        return not self._slots_used and not self._sockets

    async def _wait_until_empty(self, timeout_s: float) -> None:
        if self._is_empty():
            return
        if self._empty is None or self._empty.done():
            self._empty = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._empty], timeout=timeout_s)


def _give_up(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_exception(_exhausted("no connection became free in time"))


def _exhausted(detail: str) -> UpstreamError:
    return UpstreamError("pool_exhausted", detail, sent=False)
