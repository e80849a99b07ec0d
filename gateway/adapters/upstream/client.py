"""The client itself: a head, a connection, one write, and the response's head."""

from __future__ import annotations

from .connect import connect
from .pool import Pool, PoolUsage
from .port import Body, Headers, UpstreamSettings
from .request_head import encode_head
from .response import HttpResponse
from .tls import tls_context


class HttpUpstream:
    """`Upstream` over HTTP/1.1, for one event loop. See `port.py` for what its methods promise."""

    def __init__(self, settings: UpstreamSettings) -> None:
        """Opens nothing yet. Raises UsageError for TLS files that cannot be used."""
        tls = tls_context(settings)
        self._host_line = b"host: " + settings.authority
        self._pool = Pool(settings, lambda: connect(settings, tls))

    async def send(
        self, method: bytes, target: bytes, headers: Headers, body: Body
    ) -> HttpResponse:
        head = encode_head(method, target, self._host_line, headers, body)
        pool = self._pool
        connection = pool.take()
        if connection is None:
            connection = await pool.acquire()
        response = connection.start(head, body, is_to_head=method == b"HEAD")
        await response.wait_for_head()
        return response

    def usage(self) -> PoolUsage:
        return self._pool.usage()

    async def aclose(self, *, drain_s: float = 0.0) -> None:
        """Close idle connections now, the others when their exchange is over or `drain_s` is.

        No request can be sent from now on; what is cut off fails with `reset`.
        """
        await self._pool.aclose(drain_s=drain_s)
