"""One connection: what is on the wire, one exchange at a time.

`data_received` feeds llhttp, whose callbacks only note what they saw; what follows from it
(chunks handed out, message over, fault) is decided once, after each piece from the network.

Framing is llhttp's, strict: duplicate, conflicting or malformed Content-Length, both framings
at once, bare CR or LF, folded lines, bad chunk sizes end in `protocol_error`. Added here: bounds
on heads and trailers, a transfer coding other than chunked, 1xx that llhttp would take for a
response with a body, and what comes after a message's end.
Source: RFC 9112 §6 (body length), §9 (connections), §11 (splitting and smuggling).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Protocol, cast

import httptools

from ...errors import UpstreamError
from .faults import MalformedError, loss_fault, parse_fault
from .port import Body, Headers, UpstreamSettings
from .response import HttpResponse
from .sending import BytesSender, Sender, StreamSender
from .tls import ended_by_close_notify

JOINED_BODY_BYTES = 65_536  # up to here head and body are one write
_INFORMATIONAL = frozenset({100, 102, 103})  # the 1xx that llhttp knows to have no body


class Owner(Protocol):
    """The pool, as a connection sees it. Each call means what it says, once."""

    def release(self, connection: Connection) -> None:
        """The exchange is over and the next one may begin."""
        ...

    def closed(self, connection: Connection) -> None:
        """No more exchanges: its slot is free."""
        ...

    def lost(self, connection: Connection) -> None:
        """The socket is gone."""
        ...


class Connection(asyncio.Protocol):
    """Idle while `_response` is None, awaiting a head while its status is 0."""

    __slots__ = (
        "_bare_bytes",
        "_codings",
        "_headers",
        "_is_closed",
        "_is_ended",
        "_is_read_paused",
        "_is_reusable",
        "_is_until_close",
        "_is_write_paused",
        "_loop",
        "_max_head_bytes",
        "_now",
        "_parser",
        "_pieces",
        "_response",
        "_sender",
        "_settings",
        "_since_s",
        "_tick_s",
        "_timer",
        "_transport",
        "on_body",
        "owner",
    )

    _transport: asyncio.Transport

    def __init__(self, settings: UpstreamSettings, loop: asyncio.AbstractEventLoop) -> None:
        self.owner: Owner | None = None
        self._settings = settings
        self._max_head_bytes = settings.max_head_bytes
        self._loop = loop
        self._now: Callable[[], float] = loop.time
        self._pieces: list[bytes] = []  # of the body, out of the piece from the network in hand
        self.on_body = self._pieces.append
        self._parser: httptools.HttpResponseParser | None = None  # while closed: it refers to us
        self._headers: Headers = []
        self._codings: list[bytes] = []
        self._response: HttpResponse | None = None
        self._sender: Sender | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._since_s = 0.0  # the last sign of progress, by the loop's clock
        self._bare_bytes = 0  # received since the last byte of a body: heads, trailers, chunk lines
        self._is_closed = True  # until it is made
        self._is_ended = self._is_reusable = self._is_until_close = False
        self._is_read_paused = self._is_write_paused = False
        # No deadline set from now on can lie before the next tick, so none is ever re-armed.
        self._tick_s = min(
            settings.write_timeout_s,
            settings.header_timeout_s,
            settings.read_timeout_s,
            settings.idle_ttl_s,
        )

    # The owner's side

    def is_ready(self) -> bool:
        return not self._is_closed and self._response is None and not self._transport.is_closing()

    def start(self, head: bytes, body: Body, *, is_to_head: bool) -> HttpResponse:
        """Write a request on a connection that `is_ready`."""
        response = HttpResponse(self, self._loop, is_to_head=is_to_head)
        self._response = response
        self._since_s = self._now()
        self._bare_bytes = 0
        self._is_ended = False
        self._headers = []
        self._codings.clear()
        if not body:
            self._transport.write(head)
        elif isinstance(body, bytes) and len(body) <= JOINED_BODY_BYTES:
            self._transport.write(head + body)
        else:
            self._send_long(head, body)
        return response

    def resume(self) -> None:
        """The reader has taken what was unread."""
        if self._is_read_paused:
            self._is_read_paused = False
            self._since_s = self._now()
            self._transport.resume_reading()

    def close(self) -> None:
        """Now, whatever was under way; the reader has been told or is the one who asks."""
        if self._is_closed:
            return
        self._is_closed = True
        self._response = None
        self._parser = None
        if self._timer is not None:
            self._timer.cancel()
        if self._sender is not None:
            self._sender.stop()
        self._transport.abort()
        if self.owner is not None:
            self.owner.closed(self)

    def fail(self, error: BaseException) -> None:
        """Close, and tell the reader why: after what it has not read yet."""
        response = self._response
        self.close()
        if response is not None:
            response.fail(error)

    # The event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent
        self._is_closed = False
        self._parser = httptools.HttpResponseParser(self)
        self._since_s = self._now()
        self._timer = self._loop.call_later(self._tick_s, self._tick)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if self._response is None or parser is None:
            self.close()  # nobody asked for it
            return
        if self._response.status != 0:  # bytes of a head are none: it may dribble in for hours
            self._since_s = self._now()
        self._bare_bytes += len(data)
        fault = None
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            fault = parse_fault(error)
        if self._pieces:
            self._hand_out(self._response)
        if self._is_ended:
            self._end(self._response, is_clean=fault is None)
        elif fault is not None:
            self.fail(fault)
        elif self._bare_bytes > self._max_head_bytes:
            self.fail(UpstreamError("protocol_error", "head or trailers too large", sent=True))

    def eof_received(self) -> None:
        response = self._response
        if response is not None and self._is_until_close and ended_by_close_notify(self._transport):
            self._end(response, is_clean=False)
        else:
            self._break_off(None)  # now: the transport itself would first send what it still has

    def connection_lost(self, exc: Exception | None) -> None:
        self._break_off(exc)
        if self.owner is not None:
            self.owner.lost(self)

    def pause_writing(self) -> None:
        self._is_write_paused = True
        if self._sender is not None:
            self._sender.pause()

    def resume_writing(self) -> None:
        self._is_write_paused = False
        self._note_progress()
        if self._sender is not None:
            self._sender.resume()

    # The parser's side: only notes, except for what must stop the parser

    def on_message_begin(self) -> None:
        if self._is_ended:
            raise MalformedError("data after the end of the message")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"transfer-encoding":
            self._codings.append(value)
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        parser, response = self._parser, self._response
        assert parser is not None
        assert response is not None
        self._note_progress()
        status = parser.get_status_code()
        headers, self._headers = self._headers, []  # trailers go elsewhere
        if self._bare_bytes > self._max_head_bytes or len(headers) > self._settings.max_head_count:
            self._check_size(headers)
        if status < 200:
            if status not in _INFORMATIONAL:
                raise MalformedError(f"status {status}")
            return
        is_reusable = parser.should_keep_alive()
        if not is_reusable or self._codings or status > 599:
            self._check_framing(parser, status, headers)
        if response.is_to_head:
            # llhttp cannot be told that no body follows, so nothing can follow on this connection.
            self._is_ended = True
            is_reusable = False
        if self._sender is not None and not self._sender.is_done:
            is_reusable = False
            if status >= 400:
                self._sender.stop()
        self._is_reusable = is_reusable
        self._bare_bytes = 0
        response.begin(status, headers)

    def on_message_complete(self) -> None:
        assert self._response is not None
        self._is_ended = self._response.status != 0  # an informational one is followed by more

    # What follows

    def _check_size(self, headers: Headers) -> None:
        size_bytes = sum(len(name) + len(value) + 4 for name, value in headers)
        if size_bytes > self._max_head_bytes or len(headers) > self._settings.max_head_count:
            raise MalformedError("head too large")

    def _check_framing(
        self, parser: httptools.HttpResponseParser, status: int, headers: Headers
    ) -> None:
        version = parser.get_http_version()
        if version not in ("1.1", "1.0") or status > 599:
            raise MalformedError(f"HTTP/{version} {status}")
        if self._codings:
            codings = [coding.lower() for coding in self._codings]
            if codings != [b"chunked"] or version == "1.0":
                raise MalformedError("a transfer coding that was not asked for")
        else:
            self._is_until_close = all(name != b"content-length" for name, _ in headers)

    def _hand_out(self, response: HttpResponse) -> None:
        pieces = self._pieces
        chunk = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._bare_bytes = 0
        if response.is_to_head:
            return
        if response.feed(chunk) and not self._is_ended and not self._is_read_paused:
            self._is_read_paused = True
            self._transport.pause_reading()

    def _end(self, response: HttpResponse, *, is_clean: bool) -> None:
        """The message is over; `is_clean` when the connection stands exactly at its end."""
        self._response = None
        if (
            is_clean
            and self._is_reusable
            and self.owner is not None
            and not self._transport.get_write_buffer_size()
        ):
            self._sender = None
            self.owner.release(self)
        else:
            self.close()
        response.finish()

    def _break_off(self, error: Exception | None) -> None:
        response = self._response
        if response is None:
            self.close()
        else:
            self.fail(loss_fault(error, "before the head" if response.status == 0 else "mid-body"))

    def _send_long(self, head: bytes, body: Body) -> None:
        self._transport.write(head)
        if isinstance(body, bytes):
            self._sender = BytesSender(self._transport, body)
        else:
            assert body is not None
            self._sender = StreamSender(
                self._transport, body, on_progress=self._note_progress, on_error=self.fail
            )
        self._sender.start()

    def _note_progress(self) -> None:
        self._since_s = self._now()

    # Time

    def _tick(self) -> None:
        limit_s, kind = self._limit()
        left_s = limit_s - (self._now() - self._since_s)
        if left_s > 0:
            self._timer = self._loop.call_later(min(left_s, self._tick_s), self._tick)
        else:
            self.fail(UpstreamError(kind, f"nothing for {limit_s:g} s", sent=True))

    def _limit(self) -> tuple[float, str]:
        """How long the present phase may go on without progress, and what it is called then."""
        settings, response = self._settings, self._response
        if response is None:
            return settings.idle_ttl_s, "idle"  # closes, and there is nobody to tell
        if response.status != 0:
            return (inf, "") if self._is_read_paused else (settings.read_timeout_s, "read_timeout")
        if self._is_write_paused or self._transport.get_write_buffer_size():
            return settings.write_timeout_s, "write_timeout"
        if self._sender is not None and not self._sender.is_done:
            return inf, ""  # the caller's iterator has nothing to send
        return settings.header_timeout_s, "header_timeout"
