"""One multiplexed connection to one server: many callers, one socket, replies in order.

It fails fast. A reply that is late breaks the order of replies, so the connection is dropped and
everything in flight fails; until a new one has answered a PING, every call fails at once. That is
the circuit breaker: open while unverified, half-open while the PING is out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import hiredis

from ..errors import StoreError

log = logging.getLogger("hydragate.store")

MAX_IN_FLIGHT = 8_192
HANDSHAKE_TIMEOUT_S = 1.0
FIRST_PAUSE_S = 0.02
MAX_PAUSE_S = 0.5
TOLD_AGAIN_S = 60.0
CLIENT_NAME = "hydragate"

NO_GRACE = -1

OnReply = Callable[[Any], None]
"""Gets the reply, a `hiredis.ReplyError`, or a `StoreError`. Must not raise."""
Observe = Callable[[str, float, str | None], None]
"""(call, seconds, kind of error or None)"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and how to log in; `path` is a Unix socket and wins over host."""

    host: str = "127.0.0.1"
    port: int = 6379
    path: str | None = None
    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


class _Connection(asyncio.Protocol):
    """A verified or not yet verified connection; lives once."""

    def __init__(self, timeout_s: float, on_lost: Callable[[_Connection], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._pending: deque[tuple[OnReply, float]] = deque()
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._replies = 0
        self._held: list[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._replies += 1
                on_reply, _ = self._pending.popleft()
                on_reply(reply)
        except (hiredis.ProtocolError, IndexError):
            self.fail(StoreError("refused", "it does not speak the Redis protocol"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(StoreError("unreachable", "the connection was lost"))

    def send(self, packed: bytes, on_reply: OnReply) -> None:
        """Raises StoreError when too much is in flight or the connection is gone."""
        if self.transport is None or self.transport.is_closing():
            raise StoreError("unreachable", "not connected")
        if len(self._pending) >= MAX_IN_FLIGHT:
            raise StoreError("overloaded", f"{MAX_IN_FLIGHT} calls are in flight")
        self._pending.append((on_reply, self._loop.time() + self._timeout_s))
        if self._held is None:
            self.transport.write(packed)
        else:
            self._held.append(packed)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._check)

    def hold(self) -> None:
        """Keep what is sent until `release`, which writes it with one system call."""
        self._held = []

    def release(self) -> None:
        held, self._held = self._held, None
        if held and self.transport is not None:
            self.transport.write(b"".join(held))

    def _check(self) -> None:
        """One timer for the oldest call in flight, armed again only while there is one."""
        self._timer = None
        if not self._pending:
            return
        left_s = self._pending[0][1] - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._check)
            return
        # Perhaps it was us who were late: give what has already arrived a turn of the loop. A
        # server that answers, but ever later, gets as much again at most.
        replies = self._replies if left_s > -self._timeout_s else NO_GRACE
        self._timer = self._loop.call_later(0.001, self._give_up, replies)

    def _give_up(self, replies_before: int) -> None:
        self._timer = None
        if replies_before not in (NO_GRACE, self._replies) or self._is_in_time():
            self._check()
        elif self._pending:
            self.fail(StoreError("timeout", f"no reply within {self._timeout_s * 1000:.0f} ms"))

    def _is_in_time(self) -> bool:
        return bool(self._pending) and self._pending[0][1] > self._loop.time()

    def fail(self, error: StoreError) -> None:
        """Close, and fail everything in flight; only the first call does anything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.transport is not None:
            self.transport.abort()
            self.transport = None
            self._on_lost(self)
        pending, self._pending = self._pending, deque()
        for on_reply, _ in pending:
            on_reply(error)


class Wire:
    """Keeps one connection to `address` alive. `reconnects` counts verified connections."""

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float,
        scripts: tuple[bytes, ...] = (),
        locate: Callable[[], Awaitable[Address]] | None = None,
    ) -> None:
        self.address = address
        self._locate = locate  # asked before each reconnect: where the primary is by now
        self.reconnects = 0
        self._timeout_s = timeout_s
        self._scripts = scripts
        self._connection: _Connection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._is_up = asyncio.Event()
        self._is_closed = False
        self._away_since_s: float | None = None  # None while it answers
        self._told_s = 0.0

    async def open(self) -> None:
        """Connect once, then keep connected. Raises StoreError when the first try fails."""
        self._connection = await self._connect()
        self._is_up.set()
        self._keeper = asyncio.create_task(self._keep())

    def start(self) -> None:
        """Connect in the background, as often as it takes; `connected` waits for it."""
        self._wanted.set()
        self._keeper = asyncio.create_task(self._keep())

    async def connected(self, timeout_s: float) -> None:
        """Returns when connected, or after `timeout_s`: a call then tells what is wrong."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_up.wait()

    def reconnect(self, why: str) -> None:
        """Drop the connection, fail what is in flight, and look for the server anew."""
        if self._connection is not None:
            self._connection.fail(StoreError("unreachable", why))

    def hold(self) -> None:
        """What is sent until `release` goes out together."""
        if self._connection is not None:
            self._connection.hold()

    def release(self) -> None:
        if self._connection is not None:
            self._connection.release()

    def send(self, packed: bytes, on_reply: OnReply) -> None:
        """Write now; `on_reply` is called once. Raises StoreError when not connected."""
        connection = self._connection
        if connection is None:
            raise StoreError("unreachable", f"{self.address} does not answer")
        connection.send(packed, on_reply)

    async def call(self, *args: str | bytes | int, is_asking: bool = False) -> Any:
        """One command and its reply, a `hiredis.ReplyError` included. Raises StoreError.

        `is_asking` announces that another node of the Cluster has sent us here (ASK).
        """
        return await self._ask(self._connection, args, is_asking=is_asking)

    async def aclose(self) -> None:
        self._is_closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._connection is not None:
            self._connection.fail(StoreError("unreachable", "closed"))

    async def _ask(
        self, connection: _Connection | None, args: tuple[Any, ...], *, is_asking: bool = False
    ) -> Any:
        if connection is None:
            raise StoreError("unreachable", f"{self.address} does not answer")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def on_reply(reply: Any) -> None:
            if not answer.done():
                answer.set_result(reply)

        if is_asking:
            connection.send(hiredis.pack_command(("ASKING",)), lambda reply: None)
        connection.send(hiredis.pack_command(args), on_reply)
        reply = await answer
        if isinstance(reply, StoreError):
            raise reply
        return reply

    def _lost(self, connection: _Connection) -> None:
        if connection is self._connection:
            self._connection = None
            self._is_up.clear()
            self._wanted.set()

    async def _keep(self) -> None:
        while not self._is_closed:
            await self._wanted.wait()
            self._wanted.clear()
            pause_s = FIRST_PAUSE_S
            while self._connection is None:
                try:
                    if self._locate is not None:
                        self.address = await self._locate()
                    self._connection = await self._connect()
                    self._is_up.set()
                    self._tell_of_return()
                except Exception as error:  # whatever it is, a later try may do better
                    if not isinstance(error, StoreError):
                        log.exception("connecting to the store at %s", self.address)
                    self._tell_of_absence(error)
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                    pause_s = min(2 * pause_s, MAX_PAUSE_S)

    def _tell_of_absence(self, error: Exception) -> None:
        """At once, and again every `TOLD_AGAIN_S`: who reads the log sees that it lasts."""
        now_s = time.monotonic()
        if self._away_since_s is None:
            self._away_since_s = now_s
        elif now_s - self._told_s < TOLD_AGAIN_S:
            return
        self._told_s = now_s
        away_s = now_s - self._away_since_s
        log.error(
            "the store is away for %.0f s: every limit does as its on_store_error says: %s",
            away_s,
            error,
        )

    def _tell_of_return(self) -> None:
        if self._away_since_s is not None:
            away_s = time.monotonic() - self._away_since_s
            log.warning("the store at %s answers again, after %.1f s", self.address, away_s)
            self._away_since_s = None

    async def _connect(self) -> _Connection:
        """A connection that has logged in and answered; nothing else may use it before."""
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        at = self.address

        def build() -> _Connection:
            return _Connection(self._timeout_s, self._lost)

        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                if at.path is not None:
                    _, connection = await loop.create_unix_connection(build, at.path)
                else:
                    _, connection = await loop.create_connection(
                        build, at.host, at.port, ssl=at.tls
                    )
                await self._shake_hands(connection)
        except TimeoutError:
            late_s = time.monotonic() - started
            raise StoreError("timeout", f"{at} did not answer in {late_s:.1f} s") from None
        except (OSError, ssl.SSLError) as error:
            raise StoreError("unreachable", f"{at}: {error}") from None
        if connection.transport is None:  # lost between its last answer and now
            raise StoreError("unreachable", f"{at}: the connection was lost")
        self.reconnects += 1
        return connection

    async def _shake_hands(self, connection: _Connection) -> None:
        at = self.address
        commands: list[tuple[Any, ...]] = []
        if at.password is not None:
            user = () if at.username is None else (at.username,)
            commands.append(("AUTH", *user, at.password))
        if at.database:
            commands.append(("SELECT", at.database))
        commands.append(("PING",))
        commands += [("SCRIPT", "LOAD", script) for script in self._scripts]
        commands.append(("CLIENT", "SETNAME", CLIENT_NAME))
        try:
            for command in commands:
                reply = await self._ask(connection, command)
                if isinstance(reply, hiredis.ReplyError) and command[0] != "CLIENT":
                    raise StoreError("refused", f"{at}: {command[0]}: {reply}")
        except BaseException:
            connection.fail(StoreError("unreachable", "the handshake failed"))
            raise
