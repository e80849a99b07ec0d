"""Chunks on their way: none late, none piled up, none lost."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from gateway.adapters.upstream import UpstreamResponse
from gateway.adapters.upstream.response import HIGH_WATER_BYTES
from gateway.errors import UpstreamError

from .peer import (
    ANSWER,
    STREAM_HEAD,
    Wire,
    answering,
    chunk,
    fetch,
    get,
    saying,
    talking,
    until,
    until_steady,
    whole,
)

MIB = 1024 * 1024
READ_BYTES = 262_144  # the most that an event loop hands over at once


def read_now(response: UpstreamResponse) -> bytes:
    """One `read_chunk` that must not wait."""
    reading = response.read_chunk()
    try:
        reading.send(None)
    except StopIteration as done:
        return bytes(done.value)
    raise AssertionError("it waited")


async def test_no_chunk_is_held_back() -> None:
    """Each chunk is sent only when the one before has been read."""
    was_read = asyncio.Semaphore(0)

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(STREAM_HEAD)
        for number in range(50):
            await was_read.acquire()
            await wire.say(chunk(b"data: %d\n\n" % number))
        await wire.say(b"0\r\n\r\n")
        await wire.request()

    async with talking(script) as (upstream, _):
        response = await get(upstream)
        for number in range(50):
            was_read.release()
            assert await response.read_chunk() == b"data: %d\n\n" % number
        assert await response.read_chunk() == b""


async def test_what_has_arrived_is_read_without_waiting() -> None:
    async with talking(answering(STREAM_HEAD + chunk(b"a") + chunk(b"b") + b"0\r\n\r\n")) as (
        upstream,
        _,
    ):
        response = await get(upstream)
        await until(lambda: upstream.usage().idle == 1)
        seen = [(response.at_end, read_now(response)) for _ in range(3)]
        assert seen == [(False, b"ab"), (True, b""), (True, b"")]


async def test_the_head_comes_before_the_body_does() -> None:
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        await go.wait()
        await wire.say(b"ok")
        await wire.request()

    async with talking(script) as (upstream, _):
        response = await get(upstream)
        assert (response.status, response.at_end) == (200, False)
        go.set()
        assert await whole(response) == b"ok"


@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_a_reader_who_stops_stops_the_upstream(framing: str) -> None:
    total_bytes, sent_bytes = 64 * MIB, 0
    piece = os.urandom(MIB)

    async def script(wire: Wire) -> None:
        nonlocal sent_bytes
        await wire.request()
        await wire.say(
            STREAM_HEAD
            if framing == "chunked"
            else b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total_bytes
        )
        for _ in range(total_bytes // MIB):
            await wire.say(chunk(piece) if framing == "chunked" else piece)
            sent_bytes += MIB
        if framing == "chunked":
            await wire.say(b"0\r\n\r\n")
        await wire.request()

    async with talking(script, read_timeout_s=0.2) as (upstream, _):
        response = await get(upstream)
        await until(lambda: sent_bytes > 0)
        stopped_at = await until_steady(lambda: sent_bytes)
        assert stopped_at < total_bytes // 2  # the rest: socket buffers of both sides
        await asyncio.sleep(0.3)
        first = await response.read_chunk()  # long after the read timeout, which is the peer's
        assert 0 < len(first) <= HIGH_WATER_BYTES + READ_BYTES
        digest, size_bytes = hashlib.sha256(first), len(first)
        while part := await response.read_chunk():
            digest.update(part)
            size_bytes += len(part)
        assert size_bytes == total_bytes
        assert digest.digest() == hashlib.sha256(piece * (total_bytes // MIB)).digest()
        assert upstream.usage().idle == 1


async def test_a_response_that_ends_while_unread_frees_its_connection() -> None:
    body = b"x" * (HIGH_WATER_BYTES * 3)
    async with talking(
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    ) as (upstream, peer):
        for _ in range(3):
            assert await fetch(upstream) == body
        assert peer.connections == 1


async def test_aborting_a_finished_response_harms_nobody() -> None:
    async with talking(answering(ANSWER)) as (upstream, peer):
        first = await get(upstream)
        assert await whole(first) == b"ok"
        second = await get(upstream)
        first.abort()
        assert await whole(second) == b"ok"
        assert peer.connections == 1


async def test_an_aborted_response_cannot_be_read_as_if_it_had_ended() -> None:
    async with talking(saying(STREAM_HEAD + chunk(b"a"))) as (upstream, _):
        response = await get(upstream)
        response.abort()
        with pytest.raises(UpstreamError):  # noqa: PT012
            while await response.read_chunk():
                pass
        assert upstream.usage().connections == 0
