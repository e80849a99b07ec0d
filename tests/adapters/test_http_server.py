"""The listener's bounds that need a transport of known size, or an application that can be asked
what it was given; the rest is under tests/surfaces."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.adapters import http_server
from gateway.adapters.http_server import (
    EXTENSION,
    MAX_HEAD_BYTES,
    MAX_PIPELINED,
    BoundedProtocol,
    ClientConnection,
    listening,
)

BODY = b"x" * 60_000  # under the transport's high-water mark: it is never told to pause
GET = b"GET /first HTTP/1.1\r\nHost: gateway\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
SHORT_S = 0.2


async def answer(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"%d" % len(BODY)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


class Application:
    """Reads each request whole and answers; what has a path of /slow is answered when told to."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.bodies: list[bytes] = []
        self.lost = asyncio.Event()
        self.go_on = asyncio.Event()
        self.errors: list[Exception] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["path"] == "/early":
            return await self._answer(send)
        body, has_more = b"", True
        while has_more:
            message = await receive()
            body += message.get("body", b"")
            has_more = message.get("more_body", False)
        self.bodies.append(body)
        if scope["path"] == "/slow":
            client: ClientConnection = scope["extensions"][EXTENSION]
            client.when_lost(self.lost.set)
            await self.go_on.wait()
            client.when_lost(None)
        try:
            await self._answer(send)
        except Exception as error:
            self.errors.append(error)

    @staticmethod
    async def _answer(send: Any) -> None:
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(
    app: Any, *, write_timeout_s: float = 60.0, send_buffer_bytes: int | None = None
) -> AsyncIterator[tuple[tuple[str, int], ServerState]]:
    """(address, state) of a listener with this application, and no keep-alive limit of its own."""
    protocol = listening(write_timeout_s=write_timeout_s)
    config = uvicorn.Config(app, http=protocol, log_config=None, ws="none", timeout_keep_alive=60)
    config.load()
    state = ServerState()
    listener = socket.create_server(("127.0.0.1", 0))
    if send_buffer_bytes is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        sock=listener,
    )
    try:
        async with asyncio.timeout(20):
            yield listener.getsockname(), state
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def connected(
    app: Application,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with served(app) as (address, _):
        reader, writer = await asyncio.open_connection(*address)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def until(claim: Callable[[], bool]) -> None:
    while not claim():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_the_last_piece_of_an_answer_waits_no_longer_than_the_rest() -> None:
    before = BoundedProtocol.cut_off
    loop = asyncio.get_running_loop()
    async with served(answer, write_timeout_s=0.2, send_buffer_bytes=4_096) as (address, state):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            await loop.sock_connect(client, address)
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
            await until(lambda: bool(state.total_requests) and not state.connections)
    assert BoundedProtocol.cut_off == before + 1


@pytest.mark.parametrize("name", [b"Authorization", b"X-Forwarded-For", b"Content-Encoding"])
async def test_a_trailer_is_no_header(name: bytes) -> None:
    app = Application()
    async with connected(app) as (_, writer):
        writer.write(CHUNKED + b"2\r\nhi\r\n0\r\n" + name + b": gzip\r\n\r\n" + GET)
        await until(lambda: len(app.bodies) == 2)
    assert app.bodies == [b"hi", b""]
    for scope in app.scopes:
        assert dict(scope["headers"]).keys() <= {b"host", b"transfer-encoding"}


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"0\r\n" + b"a: b\r\n" * (MAX_HEAD_BYTES // 4), id="many"),
        pytest.param(b"0\r\na: " + b"b" * 2 * MAX_HEAD_BYTES, id="one without an end"),
        pytest.param(
            b"1;" + b"x" * 4 * MAX_HEAD_BYTES, id="an extension of a chunk without an end"
        ),
    ],
)
async def test_what_frames_a_body_is_bounded_as_a_head_is(tail: bytes) -> None:
    app = Application()
    async with connected(app) as (reader, writer):
        writer.write(CHUNKED)
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(tail), 4_096):
                writer.write(tail[start : start + 4_096])
                await writer.drain()
                await asyncio.sleep(0.001)
            assert await reader.read() == b""  # closed, as the application waits for the rest
    assert app.bodies in ([], [b""])


@pytest.mark.parametrize("target", [b"*", b"*/../v1/models", b"*?x=1", b"http://gateway"])
@pytest.mark.parametrize("method", [b"POST", b"OPTIONS"])
async def test_what_is_no_path_never_becomes_a_request(target: bytes, method: bytes) -> None:
    app = Application()
    async with connected(app) as (reader, writer):
        writer.write(method + b" " + target + b" HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    assert app.scopes == []


async def test_a_url_is_read_as_its_path() -> None:
    app = Application()
    async with connected(app) as (reader, writer):
        writer.write(b"GET http://elsewhere/v1/models HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert [scope["raw_path"] for scope in app.scopes] == [b"/v1/models"]


async def test_an_upgrade_with_a_body_is_refused_in_words_and_without_one_ignored() -> None:
    app = Application()
    offer = b"Host: gateway\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    async with connected(app) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\n" + offer + b"Content-Length: 2\r\n\r\nhi")
        assert b"without Upgrade" in await reader.read()
    async with connected(app) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n" + offer + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert len(app.scopes) == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "HEAD_TIMEOUT_S", SHORT_S)


async def is_closed_though(writer: asyncio.StreamWriter, piece: bytes) -> bool:
    """Whether it is closed although pieces keep coming, long after it should be."""
    try:
        for _ in range(100):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(SHORT_S / 4)
    except ConnectionError:
        return True
    return False


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("before", [GET, b""])
async def test_blank_lines_keep_no_connection_open(before: bytes) -> None:
    async with connected(Application()) as (reader, writer):
        writer.write(before)
        if before:
            await reader.readuntil(b"ok")
        assert await is_closed_though(writer, b"\r\n")


@pytest.mark.usefixtures("impatient")
async def test_the_body_of_what_is_answered_keeps_no_connection_open() -> None:
    async with connected(Application()) as (reader, writer):
        writer.write(b"POST /early HTTP/1.1\r\nHost: gateway\r\nContent-Length: 100000\r\n\r\n")
        await reader.readuntil(b"ok")
        assert await is_closed_though(writer, b"x")


@pytest.mark.usefixtures("impatient")
async def test_a_request_after_a_blank_line_is_served_in_peace() -> None:
    app = Application()
    async with connected(app) as (reader, writer):
        writer.write(GET)
        await reader.readuntil(b"ok")
        writer.write(b"\r\n")
        await asyncio.sleep(SHORT_S / 4)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: gateway\r\n\r\n")
        await until(lambda: len(app.bodies) == 2)
        await asyncio.sleep(2 * SHORT_S)
        app.go_on.set()
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "behind", [b"", b"P", GET, GET + GET], ids=["nothing", "a byte", "a request", "two"]
)
async def test_who_leaves_is_noticed_whatever_was_sent_behind(behind: bytes) -> None:
    app = Application()
    async with served(app) as (address, state):
        _, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: gateway\r\n\r\n")
        await until(lambda: len(app.bodies) == 1)
        writer.write(behind)
        await asyncio.sleep(0.1)
        writer.transport.abort()
        await app.lost.wait()
        app.go_on.set()
        await until(lambda: not state.tasks)
    assert app.errors == []
    assert [scope["path"] for scope in app.scopes] == ["/slow"]


async def test_of_several_requests_on_a_connection_the_one_that_is_served_hears_of_it() -> None:
    app = Application()
    slow = b"GET /slow HTTP/1.1\r\nHost: gateway\r\n\r\n"
    async with served(app) as (address, state):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(slow + slow + GET)
        await until(lambda: len(app.bodies) == 1)
        app.go_on.set()
        await reader.readuntil(b"ok")
        app.go_on.clear()
        await until(lambda: len(app.bodies) >= 2)
        writer.transport.abort()
        await until(lambda: not state.connections)
        app.go_on.set()
        await until(lambda: not state.tasks)
    assert app.errors == []


async def test_who_asks_for_much_at_once_is_cut_off() -> None:
    app = Application()
    async with connected(app) as (reader, writer):
        writer.write(b"GET /slow HTTP/1.1\r\nHost: gateway\r\n\r\n" + GET * (MAX_PIPELINED + 1))
        assert await reader.read() == b""
        await app.lost.wait()
    app.go_on.set()
