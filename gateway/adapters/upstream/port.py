"""What the forwarder asks of an upstream client, and what an operator may set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from ...errors import UsageError

Headers = list[tuple[bytes, bytes]]
Body = bytes | AsyncIterator[bytes] | None

DEFAULT_PORTS = {"http": 80, "https": 443}


class UpstreamResponse(Protocol):
    """A response whose head has arrived. Read it to the end or abort it: it holds a connection."""

    @property
    def status(self) -> int:
        """200..599: informational responses are skipped, 101 is an error."""
        ...

    @property
    def headers(self) -> Headers:
        """Wire order, lower-case names, framing headers included; trailers are dropped."""
        ...

    @property
    def at_end(self) -> bool:
        """True when `read_chunk` is known to have only b"" left; False promises nothing."""
        ...

    async def read_chunk(self) -> bytes:
        """All that has arrived and was not read yet; waits while that is nothing; b"" at the end.

        Raises UpstreamError, after everything that arrived before the fault was handed out.
        Cancelling it aborts the response. One reader at a time.
        """
        ...

    def abort(self) -> None:
        """Close the connection at once. Nothing happens when the response is over already."""
        ...


class Upstream(Protocol):
    """One model API."""

    async def send(
        self, method: bytes, target: bytes, headers: Headers, body: Body
    ) -> UpstreamResponse:
        """Send a request and wait for the response's head; the body comes by `read_chunk`.

        `target` is path and query. Header names are lower case; `host` and whatever frames
        the message or governs the connection is replaced by the client's own. A body of bytes
        goes with its length, an iterator chunked; None and b"" are no body.

        Raises UpstreamError; an error of the caller's own iterator comes back as it is.
        Cancelling it closes the connection at once.
        """
        ...

    async def aclose(self) -> None:
        """Close idle connections at once, the others when their exchange is over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """One model API's address, timeouts and bounds. Raises UsageError for what cannot be."""

    scheme: str
    host: str
    port: int = 0  # 0: the scheme's own
    ca_file: str | None = None  # None: the system's roots
    client_cert_file: str | None = None
    client_key_file: str | None = None  # None: in client_cert_file
    connect_timeout_s: float = 5.0  # name lookup, every address, TLS handshake
    pool_timeout_s: float = 5.0  # waiting for a connection while all are busy
    write_timeout_s: float = 30.0  # without the request getting any further
    header_timeout_s: float = 600.0  # request fully sent to response head
    read_timeout_s: float = 120.0  # between two pieces of the body
    idle_ttl_s: float = 30.0
    max_connections: int = 4096  # one for each stream that is open
    max_idle_connections: int = 128
    max_waiting: int = 4096  # requests waiting for a connection
    max_head_bytes: int = 65_536  # response head, informational ones included; trailers alike
    max_head_count: int = 200

    def __post_init__(self) -> None:
        if self.scheme not in DEFAULT_PORTS:
            raise UsageError(f"upstream scheme '{self.scheme}' is neither http nor https")
        if not self.host or not self.host.isascii() or not self.host.isprintable():
            raise UsageError(f"upstream host '{self.host}' is no ASCII name (IDNA) or address")
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"upstream port {self.port} is not in 0..65535")
        for name in ("connect", "pool", "write", "header", "read"):
            self._check_positive(f"{name}_timeout_s")
        for name in ("idle_ttl_s", "max_connections", "max_head_bytes", "max_head_count"):
            self._check_positive(name)

    def _check_positive(self, name: str) -> None:
        if getattr(self, name) <= 0:
            raise UsageError(f"upstream {name} must be above 0, not {getattr(self, name)}")

    @property
    def wire_port(self) -> int:
        return self.port or DEFAULT_PORTS[self.scheme]

    @property
    def authority(self) -> bytes:
        """The Host header: without the scheme's own port, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.wire_port != DEFAULT_PORTS[self.scheme]:
            host = f"{host}:{self.wire_port}"
        return host.encode("ascii")
