"""From a host name to a connection: lookup, every address in turn, TLS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from .connection import Connection
from .faults import connect_fault, handshake_fault
from .port import UpstreamSettings

Address = tuple[int, tuple[Any, ...]]  # family, and what `socket` calls an address


async def connect(settings: UpstreamSettings, tls: ssl.SSLContext | None) -> Connection:
    """A new connection, ready for its first exchange, within `connect_timeout_s` in all.

    Raises UpstreamError: connect_failed, connect_timeout, tls_failed. Cancelling it leaves
    no socket behind.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + settings.connect_timeout_s
    try:
        async with asyncio.timeout_at(deadline_s):
            addresses = await look_up(settings.host, settings.wire_port)
            sock = await connect_first(addresses, deadline_s)
    except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
        raise connect_fault(error) from None
    connection = Connection(settings, loop)
    try:
        async with asyncio.timeout_at(deadline_s):
            await loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=tls,
                server_hostname=settings.host if tls is not None else None,
            )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise (handshake_fault(error) if tls is not None else connect_fault(error)) from None
    return connection


async def look_up(host: str, port: int) -> Sequence[Address]:
    """In the resolver's order; an address literal needs no resolver. Raises OSError."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        return [(family, (host, port))]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    return [(family, address) for family, _, _, _, address in found]


async def connect_first(addresses: Sequence[Address], deadline_s: float) -> socket.socket:
    """The first address that accepts. A silent one costs its share of the time left, no more.

    Raises the last address's OSError.
    """
    loop = asyncio.get_running_loop()
    fault: OSError = OSError("the name has no address")
    for tried, (family, address) in enumerate(addresses):
        share_s = (deadline_s - loop.time()) / (len(addresses) - tried)
        try:
            return await _connect_one(family, address, share_s)
        except OSError as error:
            fault = error
    raise fault


async def _connect_one(family: int, address: tuple[Any, ...], timeout_s: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
