"""The reader's end of an exchange. It owns what has arrived; the connection may be long gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...errors import UpstreamError
from .port import Headers

if TYPE_CHECKING:
    from .connection import Connection

HIGH_WATER_BYTES = 65_536  # unread, beyond which the connection stops reading


class HttpResponse:
    """See `UpstreamResponse`. The connection calls `begin`, `feed`, and `finish` or `fail`."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_error",
        "_is_held_back",
        "_is_over",
        "_loop",
        "_unread_bytes",
        "_waiter",
        "headers",
        "is_to_head",
        "status",
    )

    def __init__(
        self, connection: Connection, loop: asyncio.AbstractEventLoop, *, is_to_head: bool
    ) -> None:
        self.status = 0
        self.headers: Headers = []
        self.is_to_head = is_to_head
        self._connection: Connection | None = connection  # until the exchange is over
        self._loop = loop
        self._chunks: list[bytes] = []
        self._unread_bytes = 0
        self._waiter: asyncio.Future[bytes] | None = None
        self._is_held_back = False
        self._is_over = False
        self._error: BaseException | None = None

    @property
    def at_end(self) -> bool:
        return self._is_over and not self._chunks and self._error is None

    async def wait_for_head(self) -> None:
        """Raises what the exchange failed with; cancelling it aborts."""
        if not self._is_over:
            await self._wait()
        if self.status == 0 and self._error is not None:
            raise self._error

    async def read_chunk(self) -> bytes:
        chunks = self._chunks
        if chunks:
            chunk = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            self._unread_bytes = 0
            if self._is_held_back and self._connection is not None:
                self._is_held_back = False
                self._connection.resume()
            return chunk
        if not self._is_over and (chunk := await self._wait()):
            return chunk
        if self._error is not None:
            raise self._error
        return b""

    def abort(self) -> None:
        connection = self._connection
        if connection is not None:
            connection.close()
            self.fail(UpstreamError("reset", "aborted by its reader", sent=True))

    def begin(self, status: int, headers: Headers) -> None:
        self.status = status
        self.headers = headers
        self._wake(b"")

    def feed(self, chunk: bytes) -> bool:
        """Hand out or keep `chunk`; True when so much is unread that reading should pause."""
        if self._waiter is not None:
            self._wake(chunk)
            return False
        self._chunks.append(chunk)
        self._unread_bytes += len(chunk)
        self._is_held_back = self._unread_bytes > HIGH_WATER_BYTES
        return self._is_held_back

    def finish(self) -> None:
        self._connection = None
        self._is_over = True
        self._wake(b"")

    def fail(self, error: BaseException) -> None:
        """The first fault counts; what has arrived can still be read."""
        self._connection = None
        self._is_over = True
        self._error = error
        self._wake(b"")

    def _wake(self, chunk: bytes) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(chunk)

    async def _wait(self) -> bytes:
        waiter: asyncio.Future[bytes] = self._loop.create_future()
        self._waiter = waiter
        try:
            return await waiter
        except BaseException:
            self.abort()
            raise
