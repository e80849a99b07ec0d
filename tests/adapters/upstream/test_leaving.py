"""Who leaves frees everything at once; what stalls ends in the error that names its phase."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from gateway.adapters.upstream import HttpUpstream
from gateway.errors import UpstreamError

from .peer import (
    ANSWER,
    STREAM_HEAD,
    Peer,
    Wire,
    client_of,
    connections_alive,
    fetch,
    get,
    serving,
    talking,
    until,
    whole,
)

MIB = 1024 * 1024


Script = Callable[[Wire], Coroutine[Any, Any, None]]
Call = Callable[[HttpUpstream], Coroutine[Any, Any, bytes]]


async def quiet(wire: Wire) -> None:
    """Reads requests and says nothing."""
    await wire.gone()


async def deaf(wire: Wire) -> None:
    """Reads nothing either, until the test is over."""
    await asyncio.Event().wait()


async def half(wire: Wire) -> None:
    """Stalls in the middle of a body."""
    await wire.request()
    await wire.say(STREAM_HEAD + b"1\r\nx\r\n")
    await wire.gone()


async def post(upstream: HttpUpstream, body: bytes | AsyncIterator[bytes]) -> bytes:
    return await whole(await upstream.send(b"POST", b"/", [], body))


def awaiting_the_head(there: asyncio.Event) -> tuple[Script, Call]:
    async def script(wire: Wire) -> None:
        await wire.request()
        there.set()
        await wire.gone()

    return script, fetch


def reading_the_body(there: asyncio.Event) -> tuple[Script, Call]:
    async def call(upstream: HttpUpstream) -> bytes:
        response = await get(upstream)
        assert await response.read_chunk() == b"x"
        there.set()
        return await response.read_chunk()

    return half, call


def sending_a_large_body(there: asyncio.Event) -> tuple[Script, Call]:
    async def script(wire: Wire) -> None:
        await wire.reader.read(1)
        there.set()
        await asyncio.Event().wait()

    return script, lambda upstream: post(upstream, bytes(64 * MIB))


def waiting_for_its_own_iterator(there: asyncio.Event) -> tuple[Script, Call]:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        there.set()
        await asyncio.Event().wait()

    return quiet, lambda upstream: post(upstream, body())


@pytest.mark.parametrize(
    "phase",
    [
        awaiting_the_head,
        reading_the_body,
        sending_a_large_body,
        waiting_for_its_own_iterator,
    ],
    ids=lambda phase: phase.__name__,
)
async def test_cancelling_closes_the_connection_at_once_and_frees_the_slot(
    phase: Callable[[asyncio.Event], tuple[Script, Call]],
) -> None:
    there = asyncio.Event()
    script, call = phase(there)
    async with serving(script) as peer, client_of(peer, max_connections=1) as upstream:
        for _ in range(3):
            there.clear()
            task = asyncio.create_task(call(upstream))
            await there.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert upstream.usage().connections == 0
        assert peer.connections == 3
        if phase is not sending_a_large_body:  # that peer reads nothing, not even the end
            await until(lambda: not peer.open)


async def test_cancelling_while_connecting_leaves_no_socket() -> None:
    async with serving(quiet) as peer, client_of(peer, max_connections=1) as upstream:
        for turns in range(8):
            task = asyncio.create_task(fetch(upstream))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert upstream.usage().connections == 0
        await until(lambda: not peer.open)


async def test_a_response_cancelled_in_the_moment_it_ends_harms_nobody() -> None:
    """Cancelled after the message was over, it must not close what others use by now."""
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await go.wait()
        await wire.say(ANSWER)
        await wire.request()
        await wire.say(ANSWER)
        await wire.gone()

    async with talking(script) as (upstream, peer):
        task = asyncio.create_task(get(upstream))
        await until(lambda: len(peer.requests) == 1)
        go.set()
        while not upstream.usage().idle:  # noqa: ASYNC110 (each turn: before the task's own)
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert await fetch(upstream) == b"ok"
        assert peer.connections == 1


async def test_a_timeout_around_a_call_counts_as_leaving() -> None:
    async with serving(quiet) as peer, client_of(peer) as upstream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await fetch(upstream)
        assert upstream.usage().connections == 0
        await until(lambda: not peer.open)


async def slow(wire: Wire) -> None:
    """Every step well within a timeout that all of them together exceed."""
    await wire.request()
    await asyncio.sleep(0.1)
    await wire.say(STREAM_HEAD)
    for _ in range(5):
        await asyncio.sleep(0.1)
        await wire.say(b"1\r\nx\r\n")
    await wire.say(b"0\r\n\r\n")
    await wire.request()


async def dribble(wire: Wire) -> None:
    """A head that comes byte by byte, each of them in good time, and never ends."""
    await wire.request()
    for byte in STREAM_HEAD[:-2]:
        await asyncio.sleep(0.03)
        await wire.say(bytes([byte]))
    await wire.gone()


TIMEOUTS: dict[str, tuple[Script, Call]] = {
    "header_timeout": (quiet, fetch),
    "read_timeout": (half, fetch),
    "write_timeout": (deaf, lambda upstream: post(upstream, bytes(64 * MIB))),
}


async def expire(peer: Peer, call: Call, **timeouts: float) -> tuple[UpstreamError, float]:
    """The error, and how long it took."""
    loop = asyncio.get_running_loop()
    async with client_of(peer, **timeouts) as upstream:
        began_s = loop.time()
        with pytest.raises(UpstreamError) as caught:
            await call(upstream)
        assert upstream.usage().connections == 0
        return caught.value, loop.time() - began_s


@pytest.mark.parametrize("kind", TIMEOUTS)
@pytest.mark.parametrize("other_s", [0.03, 5.0], ids=["often ticking", "rarely ticking"])
async def test_each_phase_has_its_own_timeout(kind: str, other_s: float) -> None:
    script, call = TIMEOUTS[kind]
    names = {"header_timeout", "read_timeout", "write_timeout"}
    # A phase that is not the stalled one has a limit that would end it at once, or never.
    timeouts = {f"{name}_s": other_s for name in names} | {"idle_ttl_s": other_s}
    if kind == "read_timeout":
        timeouts["header_timeout_s"] = 5.0
    async with serving(script) as peer:
        error, took_s = await expire(peer, call, **timeouts | {f"{kind}_s": 0.15})
    assert (error.kind, error.sent) == (kind, True)
    assert 0.14 < took_s < 1.0


async def test_a_head_that_dribbles_in_does_not_outlast_its_timeout() -> None:
    async with serving(dribble) as peer:
        error, took_s = await expire(peer, fetch, header_timeout_s=0.2)
    assert (error.kind, error.sent) == ("header_timeout", True)
    assert 0.19 < took_s < 1.0


async def test_a_short_limit_after_a_long_one_is_kept() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await asyncio.sleep(0.3)
        await wire.say(STREAM_HEAD)
        await wire.gone()

    async with serving(script) as peer:
        error, took_s = await expire(peer, fetch, header_timeout_s=9.0, read_timeout_s=0.15)
    assert error.kind == "read_timeout"
    assert 0.44 < took_s < 1.5


async def test_a_large_body_that_stalls_as_iterator_is_write_timeout() -> None:
    async def body() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MIB)

    async with serving(deaf) as peer:
        error, _ = await expire(peer, lambda upstream: post(upstream, body()), write_timeout_s=0.1)
    assert error.kind == "write_timeout"


async def test_waiting_for_the_callers_own_iterator_is_nobodys_timeout() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.sleep(0.4)
        yield b"two"

    async def script(wire: Wire) -> None:
        assert (await wire.request()).body == b"onetwo"
        await wire.say(ANSWER)
        await wire.request()

    timeouts = {"write_timeout_s": 0.15, "header_timeout_s": 0.15, "read_timeout_s": 0.15}
    async with talking(script, **timeouts) as (upstream, _):
        assert await post(upstream, body()) == b"ok"


async def test_the_write_timeout_counts_from_the_callers_last_piece() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.sleep(0.6)
        yield bytes(32 * MIB)

    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"x\r\n")
        await asyncio.sleep(0.75)
        await wire.reader.readuntil(b"2000000\r\n")
        await wire.reader.readexactly(32 * MIB + 7)
        await wire.say(ANSWER)
        await wire.request()

    async with talking(script, write_timeout_s=0.5) as (upstream, _):
        assert await post(upstream, body()) == b"ok"


async def test_a_slow_response_within_each_limit_is_fine() -> None:
    async with talking(slow, header_timeout_s=0.3, read_timeout_s=0.3) as (upstream, _):
        assert await fetch(upstream) == b"xxxxx"


async def test_a_slow_reader_of_a_large_body_is_no_stalled_one() -> None:
    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.1)
            await wire.reader.readexactly(8 * MIB)
        await wire.say(ANSWER)
        await wire.request()

    async with talking(script, write_timeout_s=0.4) as (upstream, _):
        assert await post(upstream, bytes(64 * MIB)) == b"ok"


async def test_a_reader_who_pauses_longer_than_the_read_timeout_starts_it_anew() -> None:
    was_read = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(STREAM_HEAD + b"11170\r\n" + bytes(70_000) + b"\r\n")
        await was_read.wait()
        await asyncio.sleep(0.15)
        await wire.say(b"1\r\nx\r\n0\r\n\r\n")
        await wire.request()

    async with talking(script, read_timeout_s=0.3) as (upstream, _):
        response = await get(upstream)
        await asyncio.sleep(0.5)
        body = await response.read_chunk()
        was_read.set()
        assert body + await whole(response) == bytes(70_000) + b"x"


async def test_a_peer_that_ends_early_is_noticed_while_sending() -> None:
    async def script(wire: Wire) -> None:
        await wire.reader.read(1)
        wire.say_no_more()
        await asyncio.Event().wait()

    async with serving(script) as peer:
        error, took_s = await expire(
            peer, lambda upstream: post(upstream, bytes(64 * MIB)), write_timeout_s=5.0
        )
    assert (error.kind, error.sent) == ("reset", True)
    assert took_s < 2.0


async def test_a_closed_connection_is_freed_without_the_garbage_collector() -> None:
    async with talking(half) as (upstream, _):
        gc.disable()
        try:
            for _ in range(3):
                response = await get(upstream)
                response.abort()
                del response
            await until(lambda: not connections_alive())
            assert not connections_alive()
        finally:
            gc.enable()


async def test_a_reused_connection_counts_from_its_own_request() -> None:
    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await asyncio.sleep(0.12)
            await wire.say(ANSWER)

    async with talking(script, header_timeout_s=0.25) as (upstream, peer):
        for _ in range(4):
            assert await fetch(upstream) == b"ok"
            await asyncio.sleep(0.2)
        assert peer.connections == 1
