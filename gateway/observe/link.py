"""The channel between the supervisor and one worker: snapshots up, questions down.

Messages are a type byte, a length and a payload. A worker pushes its metrics every second and
whenever asked, which also tells that its loop turns; when the supervisor is gone, it drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

import msgspec

from .counters import WorkerMetrics
from .exposition import MetricsAggregate

METRICS, PULL, READY = b"m", b"p", b"r"
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
PUSH_EVERY_S = 1.0
PULL_TIMEOUT_S = 0.3
_HEAD = struct.Struct("!cI")


class Channel(asyncio.Protocol):
    """Frames in both directions; a peer that sends nonsense is cut off."""

    def __init__(
        self, on_message: Callable[[bytes, bytes], None], on_lost: Callable[[], None]
    ) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._buffer)
            if size > MAX_MESSAGE_BYTES:
                self.close()
                return
            end = _HEAD.size + size
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEAD.size : end])
            del self._buffer[:end]
            self._on_message(kind, payload)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_lost()

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Nothing happens once the peer is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_HEAD.pack(kind, len(payload)) + payload)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class WorkerLink:
    """The worker's end, as a context manager."""

    def __init__(self, fd: int, metrics: WorkerMetrics, *, on_lost: Callable[[], None]) -> None:
        self._fd = fd
        self._metrics = metrics
        self._channel = Channel(self._received, on_lost)
        self._pusher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> WorkerLink:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._channel, sock=socket.socket(fileno=self._fd))
        self._pusher = asyncio.create_task(self._push_forever())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.push()
        if self._pusher is not None:
            self._pusher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pusher
        await asyncio.sleep(0)
        self._channel.close()

    def tell_ready(self) -> None:
        self._channel.send(READY)

    def push(self) -> None:
        self._channel.send(METRICS, self._metrics.snapshot())

    def _received(self, kind: bytes, payload: bytes) -> None:
        if kind == PULL:
            self.push()

    async def _push_forever(self) -> None:
        while True:
            await asyncio.sleep(PUSH_EVERY_S)
            self.push()


class SupervisorLink:
    """The supervisor's end of one worker's life. `ready` is set once the worker serves."""

    def __init__(self, aggregate: MetricsAggregate, worker: int, incarnation: int) -> None:
        self.ready = asyncio.Event()
        self._aggregate = aggregate
        self._worker = worker
        self._incarnation = incarnation
        self._fresh = asyncio.Event()
        self._is_lost = False
        self._has_spoken = False
        self._silent_looks = 0
        self._channel = Channel(self._received, self._lost)

    async def open(self, ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._channel, sock=ours)

    async def pull(self) -> None:
        """Ask for fresh counts; after 300 ms those of the last push have to do."""
        if self._is_lost:
            return
        self._fresh.clear()
        self._channel.send(PULL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PULL_TIMEOUT_S):
                await self._fresh.wait()

    def look(self) -> int:
        """How many looks in a row, this one included, found nothing new from the worker.

        Looks and not seconds: whoever was paused itself did not look meanwhile, and so never
        takes its own pause, or that of the whole machine, for the worker's.
        """
        self._silent_looks = 0 if self._has_spoken else self._silent_looks + 1
        self._has_spoken = False
        return self._silent_looks

    def _received(self, kind: bytes, payload: bytes) -> None:
        self._has_spoken = True
        if kind == READY:
            self.ready.set()
        elif kind == METRICS:
            with contextlib.suppress(msgspec.MsgspecError):
                self._aggregate.merge(self._worker, self._incarnation, payload)
            self._fresh.set()

    def _lost(self) -> None:
        self._is_lost = True
        self.ready.clear()
        self._aggregate.end(self._worker, self._incarnation)
        self._fresh.set()
