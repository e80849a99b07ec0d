"""Who gives way when more clients connect than may."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.adapters.connections import PAUSE_S, Connections, bound_of
from gateway.adapters.http_server import listening

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Wire]]

GET = b"GET /%b HTTP/1.1\r\nHost: gateway\r\n\r\n"


class Client:
    """One that waits until a given instant, or is served (None)."""

    def __init__(self, room: Connections, until_s: float | None) -> None:
        self.until_s = until_s
        self.is_gone = False
        self.looks = 0
        self._room = room

    def waits_until_s(self) -> float | None:
        self.looks += 1
        return None if self.is_gone else self.until_s

    def give_way(self) -> None:
        self.is_gone = True
        self._room.left()


def test_nobody_is_looked_at_below_the_bound() -> None:
    room = Connections(2)
    first = Client(room, 5.0)
    assert room.admit([], 0.0)
    assert room.admit([first], 0.0)
    assert (room.open, first.looks) == (2, 0)


def test_whoever_would_be_closed_first_gives_way() -> None:
    room = Connections(3)
    clients = [Client(room, until_s) for until_s in (75.0, 15.0, None)]
    for _ in clients:
        room.admit(clients, 0.0)
    assert room.admit(clients, 1.0)
    assert [client.is_gone for client in clients] == [False, True, False]
    assert (room.open, room.given_way, room.refused) == (3, 1, 0)


def test_a_flood_is_looked_through_once_for_many() -> None:
    room = Connections(640)
    clients = [Client(room, float(number)) for number in range(640)]
    for _ in clients:
        room.admit(clients, 0.0)
    for _ in range(10):
        assert room.admit(clients, 1.0)
    assert [client.is_gone for client in clients] == [True] * 10 + [False] * 630
    assert {client.looks for client in clients} == {1}
    assert room.open == 640


def test_who_is_served_is_never_closed_and_not_looked_for_again_at_once() -> None:
    room = Connections(1)
    served = Client(room, None)
    assert room.admit([], 0.0)
    assert not room.admit([served], 1.0)
    assert not room.admit([served], 1.0 + PAUSE_S / 2)
    assert (served.is_gone, served.looks, room.refused, room.open) == (False, 1, 2, 1)
    served.until_s = 75.0
    assert room.admit([served], 1.0 + PAUSE_S)


@pytest.mark.parametrize(
    ("wanted", "descriptors", "bound"),
    [(100, None, 100), (100, 1_000_000, 100), (16_384, 1_024, 384), (500, 100, 37), (5, 1, 1)],
)
def test_what_the_system_allows_bounds_it(wanted: int, descriptors: int | None, bound: int) -> None:
    assert bound_of(wanted, descriptors) == bound


def test_a_bound_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Connections(0)


class Application:
    """Answers at once, but under /held when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/held":
            await self.go_on.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def served(
    app: Application, clients: Connections, *, is_trusted: bool = False
) -> AsyncIterator[Connect]:
    """A listener; who connects to it with what this gives is let go at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    address: tuple[str, int] = listener.getsockname()
    protocol = listening(
        write_timeout_s=5, clients=clients, trusted_port=address[1] if is_trusted else None
    )
    config = uvicorn.Config(app, http=protocol, log_config=None, ws="none", timeout_keep_alive=60)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        sock=listener,
    )
    wires: list[Wire] = []

    async def connect() -> Wire:
        wires.append(await asyncio.open_connection(*address))
        return wires[-1]

    try:
        async with asyncio.timeout(20):
            yield connect
    finally:
        app.go_on.set()
        server.close()
        for _, writer in wires:
            writer.transport.abort()
        while state.connections:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await server.wait_closed()


async def asks(wire: Wire, path: bytes) -> bytes:
    wire[1].write(GET % path)
    return await wire[0].readuntil(b"ok")


async def test_the_one_that_is_kept_alive_gives_way_and_the_one_that_is_served_stays() -> None:
    app, clients = Application(), Connections(2)
    async with served(app, clients) as connect:
        held = await connect()
        held[1].write(GET % b"held")
        idle = await connect()
        assert (await asks(idle, b"first")).startswith(b"HTTP/1.1 200")
        newest = await connect()
        assert (await asks(newest, b"second")).startswith(b"HTTP/1.1 200")
        assert await idle[0].read() == b""
        app.go_on.set()
        assert (await held[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert (clients.open, clients.given_way, clients.refused) == (2, 1, 0)


async def test_heads_that_do_not_end_hold_no_place() -> None:
    app, clients = Application(), Connections(4)
    async with served(app, clients) as connect:
        slow = [await connect() for _ in range(4)]
        for _, writer in slow:
            writer.write(b"GET / HTTP/1.1\r\nHost: ga")
        honest = await connect()
        assert (await asks(honest, b"")).startswith(b"HTTP/1.1 200")
        assert await slow[0][0].read() == b""
        assert clients.open == 4


async def test_where_all_are_served_a_new_one_is_told_to_come_again() -> None:
    app, clients = Application(), Connections(1)
    async with served(app, clients) as connect:
        held = await connect()
        held[1].write(GET % b"held")
        reader, _ = await connect()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert b"\r\nretry-after: 1\r\n" in answer
        assert answer.endswith(b'"code":"gateway_busy"}')
        app.go_on.set()
        assert (await held[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        assert (clients.open, clients.refused) == (1, 1)
        held[1].close()
        while clients.open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await asks(await connect(), b"")).startswith(b"HTTP/1.1 200")


async def test_the_data_plane_is_not_counted() -> None:
    app, clients = Application(), Connections(1)
    async with served(app, clients, is_trusted=True) as connect:
        wires = [await connect() for _ in range(3)]
        for wire in wires:
            assert (await asks(wire, b"")).startswith(b"HTTP/1.1 200")
        assert (clients.open, clients.given_way) == (0, 0)
