"""A transport that writes an answer's head and what follows it with one system call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_STATUS_LINE = b"HTTP/1.1 "


class JoiningTransport:
    """Writes an answer's head together with what follows it in the same turn of the loop.

    A system call costs more than everything else about an answer; uvicorn makes one for the head
    and one for the body. A head that nothing follows at once goes out alone, by the end of the
    turn, so that no stream begins late.
    """

    __slots__ = ("_head", "_loop", "_transport", "close", "get_extra_info",
                 "get_write_buffer_size", "is_closing", "pause_reading", "resume_reading",
                 "set_protocol")  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        on_close: Callable[[], None],
    ) -> None:
        """`on_close` is called when closing begins: what waits to be written is still written."""
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.set_protocol = transport.set_protocol

        def close() -> None:
            self._flush()
            if not transport.is_closing():
                on_close()
            transport.close()

        self.close = close

    def write(self, data: bytes) -> None:
        head = self._head
        if head is not None:
            self._head = None
            self._transport.write(head + data)
        elif data.startswith(_STATUS_LINE):
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.write(data)

    def abort(self) -> None:
        self._head = None
        self._transport.abort()

    def _flush(self) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._transport.write(head)
