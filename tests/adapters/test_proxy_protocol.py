"""PROXY headers: read byte by byte alike, refused where they are not sound, believed from few."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from gateway.adapters.client import networks
from gateway.adapters.http_server import listening
from gateway.adapters.proxy_protocol import (
    SIGNATURE_2,
    ProxyHeader,
    ProxyProtocolError,
    read_proxy_header,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"


def version_2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE_2 + struct.pack("!BBH", 0x20 | command, family << 4 | 1, len(block)) + block


def four(source: str, port: int = 4000, extra: bytes = b"") -> bytes:
    packed = IPv4Address(source).packed + IPv4Address("10.0.0.1").packed
    return version_2(1, 1, packed + struct.pack("!HH", port, 443) + extra)


def six(source: str) -> bytes:
    packed = IPv6Address(source).packed + IPv6Address("fd00::1").packed
    return version_2(1, 2, packed + struct.pack("!HH", 5, 443))


SOUND = [
    (b"PROXY TCP4 198.51.100.7 10.0.0.1 4000 443\r\n", ("198.51.100.7", 4000)),
    (b"PROXY TCP6 2a00::7 fd00::1 4000 443\r\n", ("2a00::7", 4000)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN 1.2.3.4 whatever\r\n", None),
    (four("198.51.100.7"), ("198.51.100.7", 4000)),
    (four("198.51.100.7", extra=b"\x04\x00\x03abc"), ("198.51.100.7", 4000)),
    (six("2a00::7"), ("2a00::7", 5)),
    (version_2(1, 0, b""), None),
    (version_2(1, 3, b"x" * 216), None),
]


@pytest.mark.parametrize(("header", "client"), SOUND)
def test_a_header_is_read_however_it_arrives(header: bytes, client: tuple[str, int] | None) -> None:
    for cut in range(len(header)):
        assert read_proxy_header(header[:cut]) is None
    read = read_proxy_header(header + REQUEST)
    assert read == ProxyHeader(client, len(header))


def test_a_health_check_of_the_balancer_is_its_own() -> None:
    assert read_proxy_header(version_2(0, 0, b"")) == ProxyHeader(None, 16, is_local=True)


@pytest.mark.parametrize(
    "header",
    [
        *(REQUEST, b"\x16\x03\x01", b"PROXY \r\n", b"PROXY TCP4 1.2.3.4\r\n"),
        b"PROXY TCP4 1.2.3 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 2a00::7 fd00::1 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 10.0.0.1 99999 2\r\n",
        b"PROXY TCP4 1.2.3.4 10.0.0.1 -1 2\r\n",
        b"PROXY TCP5 1.2.3.4 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 " + b"1" * 120,
        SIGNATURE_2 + b"\x11\x11\x00\x00",
        SIGNATURE_2 + b"\x21\x11\xff\xff",
        SIGNATURE_2 + b"\x2f\x11\x00\x00",
        version_2(1, 1, b"\x01\x02\x03"),
        version_2(1, 2, b"\x01" * 30),
    ],
)
def test_what_is_not_sound_is_refused(header: bytes) -> None:
    with pytest.raises(ProxyProtocolError):
        read_proxy_header(header)


@given(st.binary(max_size=300))
def test_any_bytes_end_in_an_answer(data: bytes) -> None:
    try:
        read = read_proxy_header(data)
    except ProxyProtocolError:
        return
    assert read is None or read.length <= len(data)


@asynccontextmanager
async def listener(*trusted: str) -> AsyncIterator[tuple[int, list[Any]]]:
    """(port, the clients that the application saw)."""
    seen: list[Any] = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    http = listening(write_timeout_s=5, balancers=networks(trusted))
    config = uvicorn.Config(answer, http=http, log_config=None, ws="none")
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    sock = socket.create_server(("127.0.0.1", 0))
    server = await loop.create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        sock=sock,
    )
    try:
        yield sock.getsockname()[1], seen
    finally:
        server.close()
        await server.wait_closed()


async def asked(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_the_application_sees_whom_the_balancer_names() -> None:
    async with listener("127.0.0.0/8") as (port, seen):
        header = four("198.51.100.7")
        assert b" 204 " in await asked(port, header + REQUEST)
        assert b" 204 " in await asked(port, header[:5], header[5:], REQUEST)
        assert b" 204 " in await asked(port, version_2(0, 0, b"") + REQUEST)
        assert b" 204 " in await asked(port, b"PROXY UNKNOWN\r\n" + REQUEST)
        assert seen[:2] == [("198.51.100.7", 4000)] * 2
        assert seen[2][0] == "127.0.0.1"
        assert seen[3] is None, "nobody vouches for an address"


async def test_without_a_sound_header_nothing_is_served() -> None:
    async with listener("127.0.0.0/8") as (port, seen):
        assert b" 400 " in await asked(port, REQUEST)
        assert b" 400 " in await asked(port, b"PROXY TCP4 x y 1 2\r\n" + REQUEST)
        assert seen == []


async def test_nobody_else_may_say_who_calls() -> None:
    async with listener("10.0.0.0/8") as (port, seen):
        assert b" 400 " in await asked(port, four("198.51.100.7") + REQUEST)
        assert seen == []
