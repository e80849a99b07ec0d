"""Open-loop HTTP load from asyncio.Protocol and httptools, and a closed loop for saturation.

Open loop: every shot has a due time, and its latency counts from there, so that a slow server
cannot hide its queue by slowing the load down. Every run is bounded in time, and every shot that
was due ends in the result: with a status, or with an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

from .load_result import Latencies, LoadResult, Outcome

__all__ = [
    "Latencies",
    "LoadResult",
    "Numbered",
    "Outcome",
    "Shot",
    "drive",
    "poisson",
    "request_bytes",
    "run_many",
    "saturate",
]

SHOTS_PER_TURN = 64
KEPT_GAPS = 10_000
MAX_WAITING = 100_000
SWEEP_S = 0.05


@dataclass(frozen=True, slots=True)
class Shot:
    """One request: when it is due (seconds from the start) and its bytes on the wire."""

    due_s: float
    wire: bytes
    tag: str = ""


Done = Callable[["_Connection", Outcome], None]


class _Connection(asyncio.Protocol):
    """One connection with at most one request out."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.gives_up_s = math.inf
        self._done: Done | None = None
        self._outcome = Outcome()
        self._from_s = self._last_s = 0.0
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_usable(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, wire: bytes, from_s: float, gives_up_s: float, done: Done) -> None:
        """Send one request; `done` hears once what became of it, an error included."""
        self._outcome, self._from_s, self._last_s, self._done = Outcome(), from_s, 0.0, done
        self.gives_up_s = gives_up_s
        if self.transport is None:
            self._finish("connection_lost")
        else:
            self.transport.write(wire)

    def fail(self, error: str) -> None:
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()
        self._finish(error)

    def data_received(self, data: bytes) -> None:
        outcome, now_s = self._outcome, time.perf_counter()
        if self._last_s == 0.0:
            outcome.first_byte_s = now_s - self._from_s
        elif len(outcome.gaps_s) < KEPT_GAPS:
            outcome.gaps_s.append(now_s - self._last_s)
        self._last_s = now_s
        outcome.bytes_in += len(data)
        outcome.chunks += 1
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail("bad_http")

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._finish("reset" if exc else "closed")

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim answer; the real one follows
            return
        self._outcome.status = status
        if not self._parser.should_keep_alive() and self.transport is not None:
            self.transport.close()
            self.transport = None
        self._finish(None)

    def _finish(self, error: str | None) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        self.gives_up_s = math.inf
        self._outcome.error = error
        self._outcome.latency_s = time.perf_counter() - self._from_s
        done(self, self._outcome)


class _Listening(_Connection):
    """Keeps the answer's headers, for who looks at single answers."""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._outcome.headers.append((name.lower(), value))


class _Keeping(_Listening):
    """Keeps the answer's body as well."""

    def on_body(self, body: bytes) -> None:
        self._outcome.body += body


@dataclass(slots=True)
class _Target:
    host: str
    port: int
    connection: type[_Connection]

    @classmethod
    def of(cls, url: str, connection: type[_Connection] = _Connection) -> _Target:
        parts = urlsplit(url)
        return cls(parts.hostname or "127.0.0.1", parts.port or 80, connection)

    async def connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(self.connection, self.host, self.port)
        return connection


class _Range:
    """The connections, the shots that wait for one, and the result that all end in."""

    def __init__(
        self,
        target: _Target,
        *,
        connections: int,
        timeout_s: float,
        on_result: Callable[[Shot, Outcome], None] | None,
    ) -> None:
        self.result = LoadResult()
        self.started_s = time.perf_counter()
        self._target, self._most, self._timeout_s = target, connections, timeout_s
        self._on_result = on_result
        self._open: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._waiting: deque[Shot] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._empty = asyncio.Event()

    async def emptied(self, timeout_s: float) -> None:
        """Until every shot fired has ended, or the time is up."""
        if self._under_way:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)

    def fire(self, shot: Shot) -> None:
        self.result.sent += 1
        self._under_way += 1
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                self._send(connection, shot)
                return
            self._open.discard(connection)
        if len(self._waiting) >= MAX_WAITING:
            self._end(shot, Outcome(error="queue_full"))
            return
        self._waiting.append(shot)
        self._connect_if_needed()

    def sweep(self) -> None:
        """Give up whatever is overdue, sent or still waiting."""
        now_s = time.perf_counter()
        for connection in [c for c in self._open if c.gives_up_s <= now_s]:
            connection.fail("timeout")
        while self._waiting and self._due(self._waiting[0]) + self._timeout_s <= now_s:
            self._end(self._waiting.popleft(), Outcome(error="timeout"))

    def close(self) -> None:
        for task in self._connecting:
            task.cancel()
        while self._waiting:  # before the connections, or each that fails would open another
            self._end(self._waiting.popleft(), Outcome(error="unfinished"))
        for connection in list(self._open):
            connection.fail("unfinished")

    def _due(self, shot: Shot) -> float:
        return self.started_s + shot.due_s

    def _send(self, connection: _Connection, shot: Shot) -> None:
        due_s, now_s = self._due(shot), time.perf_counter()
        self.result.late.add(max(0.0, now_s - due_s))
        # A timer may fire a fraction of a millisecond early: then the request began when it left.
        begun_s = min(due_s, now_s)
        connection.send(
            shot.wire,
            begun_s,
            begun_s + self._timeout_s,
            lambda connection, outcome: self._answered(connection, shot, outcome),
        )

    def _answered(self, connection: _Connection, shot: Shot, outcome: Outcome) -> None:
        self._end(shot, outcome)
        if not connection.is_usable:
            self._open.discard(connection)
            self._connect_if_needed()
        elif self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _end(self, shot: Shot, outcome: Outcome) -> None:
        self._under_way -= 1
        if self._under_way == 0:
            self._empty.set()
        self.result.add(outcome)
        if self._on_result is not None:
            self._on_result(shot, outcome)

    def _connect_if_needed(self) -> None:
        wanted = len(self._waiting) > len(self._connecting)
        if wanted and len(self._open) + len(self._connecting) < self._most:
            task = asyncio.ensure_future(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    async def _connect(self) -> None:
        try:
            connection = await self._target.connect()
        except OSError:
            if self._waiting:
                self._end(self._waiting.popleft(), Outcome(error="connect_failed"))
            return
        self._open.add(connection)
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if not task.cancelled():
            self._connect_if_needed()


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

    A shot ends `timeout_s` after it was due at the latest, also when it never got a connection.
    Shots that would be due after `deadline_s` are not sent. Errors by kind: connect_failed,
    connection_lost, closed, reset, bad_http, timeout, queue_full, unfinished.
    """
    kind = _Keeping if keeps_body else _Connection if on_result is None else _Listening
    range_ = _Range(
        _Target.of(url, kind), connections=connections, timeout_s=timeout_s, on_result=on_result
    )
    sweeper = asyncio.ensure_future(_sweep(range_))
    try:
        await _fire_all(range_, shots, deadline_s)
        await range_.emptied(timeout_s + 1)
    finally:
        sweeper.cancel()
        range_.close()
        await asyncio.sleep(0)  # the sockets close in the loop's next turn
    range_.result.wall_s = time.perf_counter() - range_.started_s
    return range_.result


async def _fire_all(range_: _Range, shots: Iterable[Shot], deadline_s: float) -> None:
    for number, shot in enumerate(shots):
        if shot.due_s > deadline_s:
            break
        pause_s = range_.started_s + shot.due_s - time.perf_counter()
        if pause_s > 0.0005:
            await asyncio.sleep(pause_s)
        elif number % SHOTS_PER_TURN == 0:
            await asyncio.sleep(0)  # late as we are, answers must be read too
        range_.fire(shot)


async def _sweep(range_: _Range) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        range_.sweep()


class _Lane:
    """One place of the closed loop; a connection that ends is replaced."""

    def __init__(
        self, target: _Target, make_wire: Callable[[], bytes], begins_s: float, ends_s: float
    ) -> None:
        self.result = LoadResult()
        self._target, self._make_wire = target, make_wire
        self._begins_s, self._ends_s = begins_s, ends_s
        self._ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._sent_s = 0.0

    async def run(self, timeout_s: float) -> LoadResult:
        while time.perf_counter() < self._ends_s:
            try:
                connection = await self._target.connect()
            except OSError:
                self.result.sent += 1
                self.result.add(Outcome(error="connect_failed"))
                await asyncio.sleep(0.01)
                continue
            self._ended = asyncio.get_running_loop().create_future()
            self._next(connection)
            left_s = self._ends_s - time.perf_counter() + timeout_s
            await asyncio.wait([self._ended], timeout=max(0.0, left_s))
            connection.fail("timeout")
            await asyncio.sleep(0)  # its socket closes in the loop's next turn
        return self.result

    def _next(self, connection: _Connection) -> None:
        self._sent_s = time.perf_counter()
        if self._sent_s < self._ends_s and connection.is_usable:
            connection.send(self._make_wire(), self._sent_s, math.inf, self._answered)
        elif not self._ended.done():
            self._ended.set_result(True)

    def _answered(self, connection: _Connection, outcome: Outcome) -> None:
        if self._sent_s >= self._begins_s:
            self.result.sent += 1
            self.result.add(outcome)
        asyncio.get_running_loop().call_soon(self._next, connection)


async def saturate(
    url: str,
    make_wire: Callable[[int], bytes],
    *,
    connections: int = 32,
    duration_s: float = 5.0,
    warm_up_s: float = 0.0,
    timeout_s: float = 30.0,
) -> LoadResult:
    """Every connection sends its next request as soon as it has its answer.

    What is still unanswered `timeout_s` after the end counts as a timeout.
    """
    numbers = iter(range(1 << 62))
    begins_s = time.perf_counter() + warm_up_s
    lanes = [
        _Lane(_Target.of(url), lambda: make_wire(next(numbers)), begins_s, begins_s + duration_s)
        for _ in range(connections)
    ]
    result = LoadResult()
    for found in await asyncio.gather(*(lane.run(timeout_s) for lane in lanes)):
        result.merge(found)
    result.wall_s = duration_s
    return result


def run_many(
    job: Callable[[int], LoadResult], *, processes: int = 2, timeout_s: float = 120.0
) -> LoadResult:
    """`job(0)` to `job(processes - 1)`, each in a process of its own, merged.

    `job` must be picklable: a function of a module, or a `functools.partial` of one. Raises what
    a job raised, or TimeoutError; no process outlives the call.
    """
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        try:
            parts = pool.map_async(job, range(processes), chunksize=1).get(timeout_s)
        except multiprocessing.TimeoutError:
            raise TimeoutError(f"no result within {timeout_s} s") from None
    result = LoadResult()
    for part in parts:
        result.merge(part)
    return result


class Numbered:
    """Distinct bodies at the price of a splice: a request whose `mark` becomes its number.

    The number is padded to the mark's length, so that Content-Length stays true; a number that
    is too long for it starts over. Raises ValueError unless `mark` is there exactly once.
    """

    def __init__(self, wire: bytes, mark: bytes = b"@NUMBER@@@") -> None:
        parts = wire.split(mark)
        if len(parts) != 2:
            raise ValueError(f"the mark {mark!r} must be there exactly once")
        self._before, self._after = parts
        self._width = len(mark)

    def __call__(self, number: int) -> bytes:
        digits = b"%0*d" % (self._width, number % 10**self._width)
        return self._before + digits + self._after


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
