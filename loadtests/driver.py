"""Open-loop HTTP load from asyncio.Protocol and httptools, and a closed loop for saturation.

Open loop: every shot has a due time, and its latency counts from there, so that a slow server
cannot hide its queue by slowing the load down. Every run is bounded in time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httptools

BUCKETS_PER_DOUBLING = 64  # 1.1 % between bounds
LEAST_S = 1e-6


class Latencies:
    """A histogram of seconds with 1.1 % precision and bounded memory; mergeable."""

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts: Counter[int] = Counter(counts or {})

    def add(self, seconds: float) -> None:
        self.counts[_bucket(seconds)] += 1

    def merge(self, other: Latencies) -> None:
        self.counts.update(other.counts)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def quantile(self, share: float) -> float:
        """The upper bound of the bucket that holds the quantile; nan when empty."""
        left = math.ceil(share * len(self))
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return float(LEAST_S * 2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING))
        return math.nan

    def as_ms(self) -> dict[str, float]:
        shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
        return {name: round(self.quantile(share) * 1000, 3) for name, share in shares.items()}


def _bucket(seconds: float) -> int:
    return math.floor(math.log2(max(seconds, LEAST_S) / LEAST_S) * BUCKETS_PER_DOUBLING)


@dataclass(frozen=True, slots=True)
class Shot:
    """One request: when it is due (seconds from the start) and its bytes on the wire."""

    due_s: float
    wire: bytes
    tag: str = ""


@dataclass(slots=True)
class Outcome:
    """What came back; `status` 0 means that nothing did, and `error` says why."""

    status: int = 0
    latency_s: float = 0.0
    first_byte_s: float = 0.0
    bytes_in: int = 0
    chunks: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    error: str | None = None


@dataclass(slots=True)
class LoadResult:
    """Counts and latencies of a run, of one process or several."""

    sent: int = 0
    wall_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)
    first_bytes: Latencies = field(default_factory=Latencies)
    late: Latencies = field(default_factory=Latencies)  # how late shots were sent
    bytes_in: int = 0

    def add(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self.errors[outcome.error] += 1
            return
        self.statuses[outcome.status] += 1
        self.latencies.add(outcome.latency_s)
        self.first_bytes.add(outcome.first_byte_s)
        self.bytes_in += outcome.bytes_in

    def merge(self, other: LoadResult) -> None:
        self.sent += other.sent
        self.wall_s = max(self.wall_s, other.wall_s)
        self.statuses.update(other.statuses)
        self.errors.update(other.errors)
        self.latencies.merge(other.latencies)
        self.first_bytes.merge(other.first_bytes)
        self.late.merge(other.late)
        self.bytes_in += other.bytes_in

    @property
    def rate(self) -> float:
        """Answered requests a second."""
        return sum(self.statuses.values()) / self.wall_s if self.wall_s else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "wall_s": round(self.wall_s, 3),
            "per_s": round(self.rate, 1),
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "errors": dict(self.errors),
            "latency_ms": self.latencies.as_ms(),
            "first_byte_ms": self.first_bytes.as_ms(),
            "sent_late_ms": self.late.as_ms(),
        }


class _Connection(asyncio.Protocol):
    """One connection with at most one request out."""

    def __init__(self, keeps_body: bool) -> None:
        self.transport: asyncio.Transport | None = None
        self._keeps_body = keeps_body
        self._done: Callable[[_Connection, Outcome], None] | None = None
        self._outcome = Outcome()
        self._from_s = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(
        self, wire: bytes, from_s: float, done: Callable[[_Connection, Outcome], None]
    ) -> None:
        self._outcome, self._from_s, self._done, self._parts = Outcome(), from_s, done, []
        if self.transport is None:
            self._finish("connection_lost")
        else:
            self.transport.write(wire)

    def fail(self, error: str) -> None:
        if self.transport is not None:
            self.transport.abort()
            self.transport = None
        self._finish(error)

    def data_received(self, data: bytes) -> None:
        outcome = self._outcome
        if outcome.first_byte_s == 0.0:
            outcome.first_byte_s = time.perf_counter() - self._from_s
        outcome.bytes_in += len(data)
        outcome.chunks += 1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail("bad_http")

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._finish("reset" if exc else "closed")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._outcome.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        if self._keeps_body:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        outcome = self._outcome
        outcome.status = self._parser.get_status_code()
        outcome.body = b"".join(self._parts)
        if not self._parser.should_keep_alive() and self.transport is not None:
            self.transport.close()
            self.transport = None
        self._finish(None)
        self._parser = httptools.HttpResponseParser(self)

    def _finish(self, error: str | None) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        self._outcome.error = error
        self._outcome.latency_s = time.perf_counter() - self._from_s
        done(self, self._outcome)


class _Pool:
    def __init__(self, url: str, size: int, keeps_body: bool) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._size, self._keeps_body = size, keeps_body
        self._open = 0
        self._idle: list[_Connection] = []
        self._waiting: deque[asyncio.Future[_Connection]] = deque()

    async def take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
            self._open -= 1
        if self._open < self._size:
            self._open += 1
            return await self._connect()
        waiter: asyncio.Future[_Connection] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        connection = await waiter
        if connection.transport is None or connection.transport.is_closing():
            return await self._connect()
        return connection

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: _Connection(self._keeps_body), self._host, self._port
        )
        return connection

    def give_back(self, connection: _Connection) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append(connection)

    def close(self) -> None:
        for connection in self._idle:
            if connection.transport is not None:
                connection.transport.close()


async def drive(
    url: str,
    shots: Iterable[Shot],
    *,
    connections: int = 256,
    timeout_s: float = 60.0,
    deadline_s: float = 300.0,
    keeps_body: bool = False,
    on_result: Callable[[Shot, Outcome], None] | None = None,
) -> LoadResult:
    """Send every shot when it is due; shots come in order of `due_s`.

    Shots that would be due after `deadline_s` are not sent.
    """
    result = LoadResult()
    pool = _Pool(url, connections, keeps_body)
    started = time.perf_counter()
    under_way: set[asyncio.Task[None]] = set()
    for shot in shots:
        if shot.due_s > deadline_s:
            break
        pause_s = started + shot.due_s - time.perf_counter()
        if pause_s > 0.0005:
            await asyncio.sleep(pause_s)
        result.sent += 1
        task = asyncio.ensure_future(_fire(pool, shot, started, timeout_s, result, on_result))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    if under_way:
        await asyncio.wait(under_way, timeout=timeout_s + 1)
    result.wall_s = time.perf_counter() - started
    pool.close()
    return result


async def _fire(
    pool: _Pool,
    shot: Shot,
    started: float,
    timeout_s: float,
    result: LoadResult,
    on_result: Callable[[Shot, Outcome], None] | None,
) -> None:
    due = started + shot.due_s
    outcome = Outcome(error="connect_failed")
    try:
        connection = await pool.take()
    except OSError:
        outcome.latency_s = time.perf_counter() - due
    else:
        result.late.add(max(0.0, time.perf_counter() - due))
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        connection.send(shot.wire, due, lambda _, got: _answer(answered, got))
        timer = asyncio.get_running_loop().call_later(timeout_s, connection.fail, "timeout")
        outcome = await answered
        timer.cancel()
        pool.give_back(connection)
    result.add(outcome)
    if on_result is not None:
        on_result(shot, outcome)


def _answer(answered: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not answered.done():
        answered.set_result(outcome)


async def saturate(
    url: str,
    make_wire: Callable[[int], bytes],
    *,
    connections: int = 32,
    duration_s: float = 5.0,
    warm_up_s: float = 0.0,
) -> LoadResult:
    """Every connection sends its next request as soon as it has its answer."""
    result, parts = LoadResult(), urlsplit(url)
    loop = asyncio.get_running_loop()
    counter = iter(range(1 << 62))
    begins = time.perf_counter() + warm_up_s
    ends = begins + duration_s
    finished = [loop.create_future() for _ in range(connections)]

    def start(connection: _Connection, index: int) -> None:
        sent_s = time.perf_counter()
        if sent_s >= ends or connection.transport is None:
            if not finished[index].done():
                finished[index].set_result(None)
            return

        def done(_: _Connection, outcome: Outcome) -> None:
            if sent_s >= begins:
                result.sent += 1
                result.add(outcome)
            loop.call_soon(start, connection, index)

        connection.send(make_wire(next(counter)), sent_s, done)

    open_connections = []
    for index in range(connections):
        _, connection = await loop.create_connection(
            lambda: _Connection(False), parts.hostname or "127.0.0.1", parts.port or 80
        )
        open_connections.append(connection)
        start(connection, index)
    await asyncio.wait(finished, timeout=warm_up_s + duration_s + 30)
    result.wall_s = duration_s
    for connection in open_connections:
        if connection.transport is not None:
            connection.transport.close()
    return result


def request_bytes(
    path: str, body: bytes, *, key: str, headers: Iterable[tuple[str, str]] = (), host: str = "gw"
) -> bytes:
    """A POST with JSON on the wire."""
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", f"authorization: Bearer {key}"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += ["content-type: application/json", f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def poisson(rate_per_s: float, duration_s: float, draw: Callable[[], float]) -> Iterator[float]:
    """Arrival times of a Poisson process; `draw` gives uniform numbers in 0..1."""
    now_s = 0.0
    while True:
        now_s -= math.log(1.0 - draw()) / rate_per_s
        if now_s >= duration_s:
            return
        yield now_s
