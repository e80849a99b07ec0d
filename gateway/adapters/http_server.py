"""The public listener: uvicorn's httptools protocol with bounds that it does not have.

What cannot be read safely ends here in 400 and never becomes a request: oversized or too many
headers, more than one Host, control characters, a target that is no path, a head or an idle
connection that takes too long. Trailers are read to their end and dropped (RFC 9110 section 6.5.1):
who is asking, and from where, stands in the head. A client that does not read what it asked for is
cut off, and the upstream call with it. Conflicting or duplicate Content-Length and
Transfer-Encoding are refused by llhttp.

It also tells an application at once when the client leaves, without a task per request: the
scope carries a `ClientConnection` under `extensions["hydragate.client"]`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from weakref import ref

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from .client import Network, vouches_for
from .connections import Connections
from .joining import JoiningTransport
from .proxy_protocol import ProxyProtocolError, read_proxy_header

MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 128
MAX_TARGET_BYTES = 8_192
MAX_PIPELINED = 16  # requests on one connection that wait behind the one that is served
HEAD_TIMEOUT_S = 15.0
WRITE_TIMEOUT_S = 60.0
UNSENT_BYTES = 131_072
EXTENSION = "hydragate.client"


def _refusal(status: int, title: bytes, code: bytes, detail: bytes, fields: bytes = b"") -> bytes:
    problem = b'{"type":"about:blank","title":"%b","status":%d,"detail":"%b","code":"%b"}' % (
        *(title, status, detail, code),
    )
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\n%b"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b"
        % (status, title, fields, len(problem), problem)
    )


def _bad_request(detail: bytes) -> bytes:
    return _refusal(400, b"Bad Request", b"invalid_http", detail)


_BAD_REQUEST = _bad_request(b"The request could not be read as HTTP/1.1.")
_NO_UPGRADE = _bad_request(b"No other protocol is offered: send the request without Upgrade.")
_NO_PLACE = _refusal(
    429,
    b"Too Many Requests",
    b"gateway_busy",
    b"Too many connections are open right now; please try again.",
    b"retry-after: 1\r\n",
)


class ClientConnection:
    """What an application may do with the connection of the request it is serving."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self._cycle: ref[RequestResponseCycle] | None = None

    def when_lost(self, call: Callable[[], None] | None) -> None:
        """Have `call` called once when the client leaves. One request is served at a time, so the
        connection keeps one call, whatever was pipelined since."""
        self._protocol.on_lost = call

    def belongs_to(self, cycle: RequestResponseCycle) -> None:
        """Weakly: the cycle holds the scope and the scope holds this, and what an exchange
        allocates must be free when it is over, without a garbage collection."""
        self._cycle = ref(cycle)

    def is_lost(self) -> bool:
        transport: asyncio.Transport | None = self._protocol.transport
        return transport is None or transport.is_closing()

    def take_body(self) -> bytes | None:
        """The whole body when all of it has arrived, which it mostly has; else None, and it must
        be received as ASGI has it. It can be taken once."""
        cycle = None if self._cycle is None else self._cycle()
        if cycle is None or cycle.more_body:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        return body

    def abort(self) -> None:
        """Close without finishing the answer, so that the client sees it was cut short."""
        self._protocol.transport.abort()


class HeadError(httptools.HttpParserError):
    """The head is beyond a bound."""


class BoundedProtocol(HttpToolsProtocol):
    """See the module's docstring; `rejected` counts what never became a request, `cut_off` the
    clients that stopped reading.

    `write_timeout_s` is how long a client may take for what waits to be written to it, which is
    at most the transport's 64 KiB and one piece of an answer: whoever reads slower than that for
    as long holds an upstream connection and memory that others need.
    """

    rejected = 0
    cut_off = 0
    write_timeout_s = WRITE_TIMEOUT_S
    balancers: tuple[Network, ...] | None = None  # who begins with a PROXY header; nobody else may
    clients: Connections | None = None  # None: as many may connect as want to
    trusted_port: int | None = None  # of the data plane, whose connections are not counted

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._fed_bytes = 0
        self._hosts = 0
        self._is_chunked = False
        self._in_head = False
        self._client = ClientConnection(self)
        self.on_lost: Callable[[], None] | None = None
        self._served: RequestResponseCycle | None = None  # while others wait behind it
        self._body_pieces = 0
        self._fed_since_body_bytes = 0
        self._refusal = _BAD_REQUEST
        self._preamble: bytes | None = None  # what came of a PROXY header; None: none is awaited
        self._is_counted = False  # in `clients`

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        joining = JoiningTransport(transport, self.loop, on_close=self._await_reader)
        super().connection_made(joining)  # type: ignore[arg-type]
        if not self._finds_place():
            joining.write(_NO_PLACE)
            joining.close()
            return
        self._await_head()
        if self.balancers is not None:
            self._preamble = b""
            if not vouches_for(self.balancers, self.client):
                self.send_400_response("")

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave_place()
        self._head_is_done()
        self._reader_keeps_up()
        served, self._served = self._served, None
        if served is not None and not served.response_complete:
            served.disconnected = True
            served.message_event.set()
        super().connection_lost(exc)
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()

    def pause_writing(self) -> None:
        """More waits to be written than the transport takes."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._reader_keeps_up()

    def data_received(self, data: bytes) -> None:
        if self._preamble is not None:
            data = self._after_preamble(self._preamble + data)
            if not data:
                return
        pieces = self._body_pieces
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            # What llhttp holds back of an unfinished header line is invisible to the callbacks.
            self._fed_bytes += len(data)
            if self._fed_bytes > MAX_HEAD_BYTES:
                self.send_400_response("")
            elif self._head_timer is None:  # most heads come in one piece and never need a timer
                self._await_head()
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            # Blank lines, or the body of what is answered: uvicorn took its idle timer away.
            if self._head_timer is None:
                self._await_head()
        elif cycle.more_body and self._is_chunked and pieces == self._body_pieces:
            # A chunk's size, its extension or a trailer, of which llhttp tells nothing yet.
            self._fed_since_body_bytes += len(data)
            if self._fed_since_body_bytes > MAX_HEAD_BYTES:
                self.send_400_response("")

    def send_400_response(self, msg: str) -> None:
        """Close with 400, unless an answer is under way on this connection: then just close."""
        BoundedProtocol.rejected += 1
        self._head_is_done()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(self._refusal)
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._client = ClientConnection(self)
        self.scope["extensions"] = {EXTENSION: self._client}  # type: ignore[dict-item]
        self._head_bytes = self._hosts = 0
        self._is_chunked = False
        self._fed_bytes = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            raise HeadError("target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) >= MAX_HEADERS:
            raise HeadError("head too large")
        if not self._in_head:
            return  # a trailer
        if len(name) == 4 and name.lower() == b"host":
            self._hosts += 1
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise HeadError("the only transfer coding read here is chunked")
            self._is_chunked = True
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_is_done()
        if self._hosts > 1 or (self._hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise HeadError("exactly one Host is needed")
        if self._is_chunked and self.parser.get_http_version() != "1.1":
            raise HeadError("HTTP/1.0 knows no transfer coding")
        if self.url[:1] != b"/" and not _is_absolute(self.url):
            raise HeadError("the target is no path")
        upgrades = self.parser.should_upgrade()
        if upgrades and (self._is_chunked or _announces_body(self.headers)):
            self._refusal = _NO_UPGRADE  # llhttp takes the body for the other protocol's
            raise HeadError("an upgrade with a body")
        before = self.cycle
        super().on_headers_complete()
        if self.pipeline:
            if len(self.pipeline) > MAX_PIPELINED:
                raise HeadError("too many requests at once")
            self._served = self._served or before
            self.flow.resume_reading()  # who does not read does not notice that a client leaves
        self._client.belongs_to(self.cycle)
        if upgrades:
            self.cycle.keep_alive = False  # what follows would not be HTTP/1.1

    def on_body(self, body: bytes) -> None:
        self._body_pieces += 1
        self._fed_since_body_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        self._served = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()

    def _after_preamble(self, data: bytes) -> bytes:
        """What follows the PROXY header, once that is whole; the head's timer bounds the wait."""
        if self.transport.is_closing():
            return b""
        try:
            header = read_proxy_header(data)
        except ProxyProtocolError:
            self.send_400_response("")
            return b""
        if header is None:
            self._preamble = data
            return b""
        self._preamble = None
        if not header.is_local:
            self.client = header.client
        return data[header.length :]

    def waits_until_s(self) -> float | None:
        """See `connections.Connected`. What still waits to be written is being served, too."""
        timer = self._head_timer or self.timeout_keep_alive_task
        transport: JoiningTransport = self.transport  # type: ignore[assignment]
        if timer is None or transport.is_closing() or transport.get_write_buffer_size():
            return None
        return timer.when()

    def give_way(self) -> None:
        self._leave_place()
        self.transport.abort()  # TLS would else wait for the other side's goodbye

    def _finds_place(self) -> bool:
        clients = self.clients
        if clients is None or (self.server is not None and self.server[1] == self.trusted_port):
            return True
        self._is_counted = clients.admit(self.connections, self.loop.time())  # type: ignore[arg-type]
        return self._is_counted

    def _leave_place(self) -> None:
        if self._is_counted and self.clients is not None:
            self._is_counted = False
            self.clients.left()

    def _unsupported_upgrade_warning(self) -> None:
        """The guard refuses what it must; a warning per request would fill the log."""

    def _await_reader(self) -> None:
        """Since the first of what waits; a reader that takes a little keeps the same deadline."""
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.write_timeout_s, self._reader_is_late)

    def _reader_keeps_up(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _reader_is_late(self) -> None:
        self._write_timer = None
        BoundedProtocol.cut_off += 1
        self.transport.abort()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def _head_is_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._in_head or self.cycle is None:
            self.send_400_response("")
        else:  # everything is answered
            self.transport.close()


def _is_absolute(target: bytes) -> bool:
    """Whether it is a URL with a path, as sent to a proxy (RFC 9112 section 3.2.2)."""
    path: bytes | None = httptools.parse_url(target).path
    return path is not None and path[:1] == b"/"


def _announces_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-length" and value.strip(b" 0") for name, value in headers)


def bound_unsent(listener: socket.socket) -> None:
    """Keep to `UNSENT_BYTES` what the kernel takes of an answer before the network does.

    Otherwise it takes megabytes and asks for more when a third of them is gone, so that a slow but
    steady reader looks like one that stopped. Accepted sockets inherit it from their listener.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        listener.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)


def listening(
    *,
    write_timeout_s: float,
    balancers: tuple[Network, ...] | None = None,
    clients: Connections | None = None,
    trusted_port: int | None = None,
) -> type[BoundedProtocol]:
    """The protocol with an operator's bounds, for `uvicorn.Config(http=…)`, which takes a class.
    With `balancers` every connection comes from one of them and begins with a PROXY header.
    `clients` counts and bounds all but those on `trusted_port`."""
    bounds = {
        "write_timeout_s": write_timeout_s,
        "balancers": balancers,
        "clients": clients,
        "trusted_port": trusted_port,
    }
    return type("Listening", (BoundedProtocol,), bounds)
