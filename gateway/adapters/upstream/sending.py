"""Request bodies that do not go out in one write: as fast as the peer reads, no faster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from ...errors import UpstreamError

SLICE_BYTES = 262_144


class Sender(Protocol):
    """Writes one body. The connection passes the transport's flow control on to it."""

    @property
    def is_done(self) -> bool:
        """The transport has taken the last byte."""
        ...

    def start(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def stop(self) -> None:
        """Write no more; `is_done` stays as it is."""
        ...


class BytesSender:
    """A large body of known length, driven by flow control alone: no task, no copy."""

    __slots__ = ("_is_paused", "_is_stopped", "_rest", "_transport")

    def __init__(self, transport: asyncio.WriteTransport, body: bytes) -> None:
        self._transport = transport
        self._rest = memoryview(body)
        self._is_paused = False
        self._is_stopped = False

    @property
    def is_done(self) -> bool:
        return not self._rest

    def start(self) -> None:
        while self._rest and not self._is_paused and not self._is_stopped:
            piece, self._rest = self._rest[:SLICE_BYTES], self._rest[SLICE_BYTES:]
            self._transport.write(piece)  # may call `pause`

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self.start()

    def stop(self) -> None:
        self._is_stopped = True


class StreamSender:
    """An iterator's body, chunked, by a task of its own, so that an early answer is not missed.

    `on_progress` is called after each write, `on_error` with what the iterator raised.
    """

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        body: AsyncIterator[bytes],
        *,
        on_progress: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._transport = transport
        self._body = body
        self._on_progress = on_progress
        self._on_error = on_error
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False
        self.is_done = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def pause(self) -> None:
        self._writable.clear()

    def resume(self) -> None:
        self._writable.set()

    def stop(self) -> None:
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._write_chunks()
        except asyncio.CancelledError:
            self._fail(UpstreamError("reset", "the request's body broke off", sent=True))
            raise
        except Exception as error:
            self._fail(error)
        finally:
            aclose = getattr(self._body, "aclose", None)
            if aclose is not None:
                await aclose()

    async def _write_chunks(self) -> None:
        async for chunk in self._body:
            if chunk:
                self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self._on_progress()
                await self._writable.wait()
        self._transport.write(b"0\r\n\r\n")
        self.is_done = True
        self._on_progress()

    def _fail(self, error: BaseException) -> None:
        if not self._is_stopped:
            self._on_error(error)
