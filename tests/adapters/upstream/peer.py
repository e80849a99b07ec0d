"""A real server on the loopback that says, byte for byte, what a test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.adapters.upstream import HttpUpstream, UpstreamResponse, UpstreamSettings
from gateway.adapters.upstream.connection import Connection

DEADLINE_S = 60.0  # of a test that hangs, on a machine that does other things too
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """As it came over the wire; `connection` counts from 1."""

    connection: int
    head: bytes
    body: bytes

    @property
    def lines(self) -> list[bytes]:
        return self.head.removesuffix(b"\r\n\r\n").split(b"\r\n")


@dataclass
class Peer:
    """`requests` in the order in which they were read in full."""

    port: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Wire:
    """One accepted connection, as a script sees it."""

    def __init__(
        self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer.connections += 1
        self.number = peer.connections
        self.reader = reader
        self.writer = writer
        self._peer = peer

    async def request(self) -> Request:
        """Raises IncompleteReadError when there is no further one."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        request = Request(self.number, head, await self._body(head))
        self._peer.requests.append(request)
        return request

    async def _body(self, head: bytes) -> bytes:
        for line in head.split(b"\r\n"):
            if line.startswith(b"content-length: "):
                return await self.reader.readexactly(int(line.removeprefix(b"content-length: ")))
        if b"transfer-encoding: chunked" not in head:
            return b""
        body = b""
        while size_bytes := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size_bytes)
            await self.reader.readline()
        await self.reader.readline()
        return body

    async def say(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    def say_no_more(self) -> None:
        """End this direction below whatever protocol is spoken: no TLS alert."""
        descriptor = self.writer.get_extra_info("socket").fileno()
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            sock.shutdown(socket.SHUT_WR)

    async def gone(self) -> None:
        """Until the client has closed or reset this connection."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while await self.reader.read(65_536):
                pass


Script = Callable[[Wire], Awaitable[None]]


@asynccontextmanager
async def serving(
    script: Script,
    *,
    tls: ssl.SSLContext | None = None,
    address: tuple[str, int] = ("127.0.0.1", 0),
    receive_bytes: int | None = None,
) -> AsyncIterator[Peer]:
    """Run `script` on every connection, and close it when the script ends.

    `receive_bytes`: the size of the socket's buffer; None leaves it to the system.
    """
    peer = Peer()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.open.add(writer)
        try:
            await script(Wire(peer, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client has left
        finally:
            peer.open.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(run(reader, writer))
        peer.tasks.add(task)
        task.add_done_callback(peer.tasks.discard)

    listener = socket.socket()
    if receive_bytes is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        pytest.skip(f"{address[0]}: {error}")  # not every system has all of 127.0.0.0/8
    server = await asyncio.start_server(accept, sock=listener, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield peer
    finally:
        server.close()
        for writer in tuple(peer.open):
            writer.transport.abort()
        tasks = tuple(peer.tasks)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        for result in results:
            if isinstance(result, Exception):
                raise result


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answering(*answers: bytes) -> Script:
    """Each connection gives these answers in turn, the last one again and again."""

    async def script(wire: Wire) -> None:
        for answer in answers:
            await wire.request()
            await wire.say(answer)
        while True:
            await wire.request()
            await wire.say(answers[-1])

    return script


def saying(raw: bytes) -> Script:
    """One request, one answer, then the connection is closed."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(raw)

    return script


@asynccontextmanager
async def client_of(peer: Peer, **settings: Any) -> AsyncIterator[HttpUpstream]:
    upstream = HttpUpstream(
        UpstreamSettings(**{"scheme": "http", "host": "127.0.0.1", "port": peer.port, **settings})
    )
    try:
        yield upstream
    finally:
        await upstream.aclose()
        assert upstream.usage().connections == 0


@asynccontextmanager
async def talking(script: Script, **settings: Any) -> AsyncIterator[tuple[HttpUpstream, Peer]]:
    async with serving(script) as peer, client_of(peer, **settings) as upstream:
        yield upstream, peer


async def get(upstream: HttpUpstream, method: bytes = b"GET") -> UpstreamResponse:
    return await upstream.send(method, b"/v1/models", [], None)


async def whole(response: UpstreamResponse) -> bytes:
    body = b""
    while chunk := await response.read_chunk():
        body += chunk
    return body


async def fetch(upstream: HttpUpstream, method: bytes = b"GET") -> bytes:
    return await whole(await get(upstream, method))


def connections_alive() -> list[Connection]:
    """Whatever keeps one: a task, a pending timer, a pool."""
    return [it for it in gc.get_objects() if isinstance(it, Connection)]


async def until(claim: Callable[[], bool]) -> None:
    """Waits for what the event loop or the peer has yet to do; a claim never met fails."""
    async with asyncio.timeout(DEADLINE_S):
        while not claim():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def until_steady(number: Callable[[], int]) -> int:
    """The value at which `number` has stayed for a hundred turns of the loop and 0.1 s."""
    seen, turns = number(), 0
    async with asyncio.timeout(DEADLINE_S):
        while turns < 100:
            await asyncio.sleep(0.001)
            turns = turns + 1 if number() == seen else 0
            seen = number()
    return seen
