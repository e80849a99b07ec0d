"""From a host name to a connection: lookup, every address in turn, TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence

from ...errors import UpstreamError
from .connection import Connection
from .faults import connect_fault
from .port import UpstreamSettings


async def connect(settings: UpstreamSettings, tls: ssl.SSLContext | None) -> Connection:
    """A new connection, ready for its first exchange, within `connect_timeout_s` in all.

    Raises UpstreamError, unsent: connect_failed, connect_timeout, tls_failed. Cancelling it
    leaves no socket behind.
    """
    deadline_s = asyncio.get_running_loop().time() + settings.connect_timeout_s
    try:
        async with asyncio.timeout_at(deadline_s):
            addresses = await look_up(settings.host)
    except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
        raise connect_fault(error) from None
    return await connect_first(addresses, settings, tls, deadline_s)


async def look_up(host: str) -> Sequence[str]:
    """Addresses in the resolver's order; a literal needs no resolver. Raises OSError."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    return [str(address[0]) for _, _, _, _, address in found]


async def connect_first(
    addresses: Sequence[str],
    settings: UpstreamSettings,
    tls: ssl.SSLContext | None,
    deadline_s: float,
) -> Connection:
    """The first address that works. A silent one costs its share of the time left, no more.

    Raises UpstreamError with the last address's fault.
    """
    fault = UpstreamError("connect_failed", "the name has no address", sent=False)
    for tried, address in enumerate(addresses):
        left_s = deadline_s - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(left_s / (len(addresses) - tried)):
                return await _connect_one(address, settings, tls)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            fault = connect_fault(error)
    raise fault


async def _connect_one(
    address: str, settings: UpstreamSettings, tls: ssl.SSLContext | None
) -> Connection:
    loop = asyncio.get_running_loop()
    connection = Connection(settings, loop)
    try:
        await loop.create_connection(
            lambda: connection,
            address,
            settings.wire_port,
            ssl=tls,
            server_hostname=settings.host if tls is not None else None,
            # Whoever waits gives up earlier; uvloop may keep this timer of one who was cancelled.
            ssl_handshake_timeout=settings.connect_timeout_s if tls is not None else None,
        )
    except BaseException:
        connection.close()  # it may have been made and never been told of its end
        raise
    return connection
