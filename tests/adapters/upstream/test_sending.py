"""Request bodies: whole, no faster than the peer reads, and stopped when it has answered."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.adapters.upstream.connection import Connection
from gateway.adapters.upstream.sending import SLICE_BYTES
from gateway.errors import UpstreamError

from .peer import (
    ANSWER,
    STREAM_HEAD,
    Wire,
    answering,
    chunk,
    client_of,
    fetch,
    serving,
    talking,
    until,
    until_steady,
    whole,
)

MIB = 1024 * 1024


BODIES = {"one write": 65_536, "several": 65_537, "many": 16 * MIB}


@pytest.mark.parametrize("size_bytes", BODIES.values(), ids=BODIES)
async def test_a_body_arrives_as_it_was_sent(size_bytes: int) -> None:
    body = os.urandom(size_bytes)
    async with talking(answering(ANSWER)) as (upstream, peer):
        for _ in range(2):
            response = await upstream.send(b"POST", b"/", [(b"content-length", b"1")], body)
            assert await whole(response) == b"ok"
        assert [request.body for request in peer.requests] == [body, body]
        assert peer.connections == 1


class Counting:
    """A transport that counts its writes."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@pytest.mark.parametrize("size_bytes", [0, 2_000, 65_536])
async def test_a_small_body_goes_out_in_one_write_with_its_head(size_bytes: int) -> None:
    async with talking(answering(ANSWER)) as (upstream, _):
        connection = await upstream._pool.acquire()
        counting = Counting(connection._transport)
        connection._transport = counting  # type: ignore[assignment]
        upstream._pool.release(connection)
        response = await upstream.send(b"POST", b"/", [], bytes(size_bytes))
        assert await whole(response) == b"ok"
        assert counting.writes == 1


async def test_an_iterator_is_sent_as_it_comes() -> None:
    heard = asyncio.Semaphore(1)

    async def body() -> AsyncIterator[bytes]:
        for number in range(20):
            await heard.acquire()
            yield b"part %d;" % number
        yield b""

    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        for number in range(20):
            await wire.reader.readuntil(b"part %d;\r\n" % number)
            heard.release()
        assert await wire.reader.readexactly(5) == b"0\r\n\r\n"
        await wire.say(ANSWER)
        await wire.request()
        await wire.say(ANSWER)

    async with talking(script) as (upstream, peer):
        assert await whole(await upstream.send(b"POST", b"/", [], body())) == b"ok"
        assert await fetch(upstream) == b"ok"
        assert peer.connections == 1


async def test_a_peer_that_does_not_read_stops_the_iterator() -> None:
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(64):
            taken += 1
            yield bytes(MIB)

    async def script(wire: Wire) -> None:
        await go.wait()
        assert len((await wire.request()).body) == 64 * MIB
        await wire.say(ANSWER)

    go = asyncio.Event()
    async with talking(script) as (upstream, _):
        call = asyncio.create_task(upstream.send(b"POST", b"/", [], body()))
        await until(lambda: taken > 0)
        assert await until_steady(lambda: taken) < 32
        go.set()
        assert (await call).status == 200


async def test_an_iterators_own_error_comes_back_and_closes_the_connection() -> None:
    class OwnError(Exception):
        pass

    async def body() -> AsyncIterator[bytes]:
        yield b"part"
        raise OwnError

    async def script(wire: Wire) -> None:
        await wire.gone()

    async with talking(script) as (upstream, peer):
        with pytest.raises(OwnError):
            await upstream.send(b"POST", b"/", [], body())
        assert upstream.usage().connections == 0
        await until(lambda: not peer.open)


async def test_an_iterator_that_gives_up_ends_the_request() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"part"
        raise asyncio.CancelledError

    async def script(wire: Wire) -> None:
        await wire.gone()

    async with talking(script) as (upstream, peer):
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(b"POST", b"/", [], body())
        assert (caught.value.kind, caught.value.sent) == ("reset", True)
        await until(lambda: not peer.open)


async def test_an_iterator_that_is_not_read_to_its_end_is_closed() -> None:
    is_closed = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal is_closed
        try:
            yield b"part"
            await asyncio.Event().wait()
        finally:
            is_closed = True

    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"part\r\n")

    async with talking(script) as (upstream, _):
        with pytest.raises(UpstreamError):
            await upstream.send(b"POST", b"/", [], body())
        await until(lambda: is_closed)


async def test_an_iterator_is_closed_while_the_peer_does_not_read() -> None:
    class Body:
        is_closed = False

        def __aiter__(self) -> Body:
            return self

        async def __anext__(self) -> bytes:
            return bytes(MIB)

        async def aclose(self) -> None:
            self.is_closed = True

    async def script(wire: Wire) -> None:
        await asyncio.Event().wait()

    body = Body()
    async with talking(script, write_timeout_s=0.1) as (upstream, _):
        with pytest.raises(UpstreamError):
            await upstream.send(b"POST", b"/", [], body)
        await until(lambda: body.is_closed)


TOO_LARGE = b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig"


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(MIB)


@pytest.mark.parametrize("is_iterator", [False, True], ids=["bytes", "iterator"])
@pytest.mark.parametrize("is_closing", [False, True], ids=["stays", "closes"])
async def test_an_early_refusal_is_delivered_and_its_connection_not_reused(
    is_iterator: bool, is_closing: bool
) -> None:
    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.say(TOO_LARGE)
        if not is_closing:
            await wire.gone()

    async with talking(script) as (upstream, peer):
        for number in range(1, 4):
            body = endless() if is_iterator else bytes(64 * MIB)
            response = await upstream.send(b"POST", b"/", [], body)
            assert (response.status, await whole(response)) == (413, b"big")
            assert peer.connections == number
            assert upstream.usage().connections == 0


async def test_an_early_refusal_stops_a_caller_who_has_nothing_more_to_send_yet() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"part"
        await asyncio.Event().wait()

    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"part\r\n")
        await wire.say(TOO_LARGE)
        await wire.gone()

    async with talking(script) as (upstream, _):
        response = await upstream.send(b"POST", b"/", [], body())
        assert (response.status, await whole(response)) == (413, b"big")


async def test_a_refusal_stops_the_iterator_before_its_own_body_has_ended() -> None:
    is_closed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"part"
            await asyncio.Event().wait()
        finally:
            is_closed.set()

    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"part\r\n")
        await wire.say(b"HTTP/1.1 413 Too Large\r\ntransfer-encoding: chunked\r\n\r\n")
        await is_closed.wait()
        await wire.say(chunk(b"big") + b"0\r\n\r\n")
        await wire.gone()

    async with talking(script) as (upstream, _):
        response = await upstream.send(b"POST", b"/", [], body())
        assert (response.status, await whole(response)) == (413, b"big")


async def test_after_a_refusal_no_more_of_a_large_body_is_sent() -> None:
    is_refused, received_bytes = asyncio.Event(), 0

    async def script(wire: Wire) -> None:
        nonlocal received_bytes
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.say(b"HTTP/1.1 413 Too Large\r\ntransfer-encoding: chunked\r\n\r\n")
        await is_refused.wait()
        while received := await wire.reader.read(MIB):
            received_bytes += len(received)

    async with talking(script) as (upstream, _):
        response = await upstream.send(b"POST", b"/", [], bytes(64 * MIB))
        assert response.status == 413
        is_refused.set()
        await until(lambda: received_bytes > 0)
        assert await until_steady(lambda: received_bytes) < 32 * MIB
        response.abort()


async def test_an_answer_while_the_last_bytes_wait_to_be_sent_is_early() -> None:
    """A body that the transport has in full, but the system not: it takes trying to hit that."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.reader.readexactly(1)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go.wait()
        await wire.say(ANSWER)
        await asyncio.Event().wait()

    async with serving(script, receive_bytes=4_096) as peer, client_of(peer) as upstream:
        for slices in range(1, 100):
            connection = await upstream._pool.acquire()
            body = bytes(slices * SLICE_BYTES)
            head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
            response = connection.start(head, body, is_to_head=False)
            await asyncio.sleep(0.01)  # what the system takes, it has taken
            if _waits_in_transport(connection):
                break
            connection.close()
        assert _waits_in_transport(connection)
        go.set()
        await response.wait_for_head()
        assert await whole(response) == b"ok"
        assert not connection.is_ready()


def _waits_in_transport(connection: Connection) -> bool:
    sender, transport = connection._sender, connection._transport
    return sender is not None and sender.is_done and transport.get_write_buffer_size() > 0


async def test_an_early_answer_that_is_no_refusal_lets_the_body_go_on() -> None:
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await answered.wait()
        yield b"two"

    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"one\r\n")
        await wire.say(STREAM_HEAD + chunk(b"1"))
        await wire.reader.readuntil(b"two\r\n0\r\n\r\n")
        await wire.say(chunk(b"2") + b"0\r\n\r\n")
        await wire.gone()

    async with serving(script) as peer, client_of(peer) as upstream:
        response = await upstream.send(b"POST", b"/", [], body())
        assert await response.read_chunk() == b"1"
        answered.set()
        assert await whole(response) == b"2"
        assert upstream.usage().connections == 0
