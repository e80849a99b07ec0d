"""Which connection carries a request, who waits for one, and what is tried again."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.adapters.upstream import HttpUpstream, UpstreamSettings
from gateway.adapters.upstream.connect import connect_first, look_up
from gateway.errors import UpstreamError
from gateway.loadtests.servers.ports import free_port

from .peer import ANSWER, Wire, answering, client_of, fetch, get, serving, talking, until, whole

OTHER_LOOPBACK = "127.0.0.2"  # nobody listens there but these tests


@asynccontextmanager
async def silent_address() -> AsyncIterator[tuple[str, int]]:
    """A port whose queue of connections is full: it neither accepts nor refuses."""
    listener = socket.socket()
    callers: list[socket.socket] = []
    try:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address: tuple[str, int] = listener.getsockname()
        while True:
            caller = socket.socket()
            caller.setblocking(False)
            callers.append(caller)
            caller.connect_ex(address)
            # Asked of the kernel: a loop that is late would take itself for a full queue.
            if not select.select([], [caller], [], 0.2)[1]:
                break
        yield address
    finally:
        for sock in (listener, *callers):
            sock.close()


class Held:
    """A script whose answers come when the test says so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, wire: Wire) -> None:
        while True:
            await wire.request()
            await self.go.wait()
            await wire.say(ANSWER)


async def test_one_caller_after_another_shares_one_connection() -> None:
    async with talking(answering(ANSWER)) as (upstream, peer):
        for _ in range(5):
            assert await fetch(upstream) == b"ok"
        assert peer.connections == 1
        assert (upstream.usage().connections, upstream.usage().idle) == (1, 1)


async def test_a_connection_is_free_as_soon_as_the_message_has_arrived() -> None:
    async with talking(answering(ANSWER)) as (upstream, peer):
        unread = await get(upstream)
        assert await fetch(upstream) == b"ok"
        assert await whole(unread) == b"ok"
        assert peer.connections == 1


async def test_the_connection_used_last_is_taken_first() -> None:
    held = Held()
    async with talking(held) as (upstream, peer):
        calls = [asyncio.create_task(fetch(upstream)) for _ in range(3)]
        await until(lambda: len(peer.requests) == 3)
        held.go.set()
        await asyncio.gather(*calls)
        await fetch(upstream)
        last = peer.requests[-1].connection
        for _ in range(3):
            await fetch(upstream)
            assert peer.requests[-1].connection == last


async def test_connections_are_bounded_and_waiters_served_in_order() -> None:
    held, order = Held(), list[int]()
    async with talking(held, max_connections=2) as (upstream, peer):

        async def call(number: int) -> None:
            await fetch(upstream)
            order.append(number)

        calls = []
        for number in range(6):
            calls.append(asyncio.create_task(call(number)))
            await until(lambda: len(peer.requests) + upstream.usage().waiting == len(calls))
        assert upstream.usage().waiting == 4
        held.go.set()
        await asyncio.gather(*calls)
        assert (order[2:], peer.connections) == ([2, 3, 4, 5], 2)


async def test_a_slot_freed_by_a_closed_connection_goes_to_whoever_waits() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")

    async with talking(script, max_connections=1) as (upstream, peer):
        assert await asyncio.gather(*(fetch(upstream) for _ in range(4))) == [b"ok"] * 4
        assert peer.connections == 4


async def test_waiting_for_a_connection_ends_in_pool_exhausted() -> None:
    async with talking(Held(), max_connections=1, pool_timeout_s=0.05) as (upstream, peer):
        first = asyncio.create_task(get(upstream))
        await until(lambda: len(peer.requests) == 1)
        with pytest.raises(UpstreamError) as caught:
            await get(upstream)
        assert (caught.value.kind, caught.value.sent) == ("pool_exhausted", False)
        assert upstream.usage().waiting == 0
        first.cancel()


async def test_the_queue_for_connections_is_bounded() -> None:
    async with talking(Held(), max_connections=1, max_waiting=1) as (upstream, peer):
        first = asyncio.create_task(get(upstream))
        await until(lambda: len(peer.requests) == 1)
        second = asyncio.create_task(get(upstream))
        await until(lambda: upstream.usage().waiting == 1)
        with pytest.raises(UpstreamError) as caught:
            await get(upstream)
        assert caught.value.kind == "pool_exhausted"
        first.cancel()
        second.cancel()


async def test_a_cancelled_waiter_leaves_the_queue_to_the_next() -> None:
    held = Held()
    async with talking(held, max_connections=1) as (upstream, peer):
        first = asyncio.create_task(fetch(upstream))
        await until(lambda: len(peer.requests) == 1)
        second = asyncio.create_task(fetch(upstream))
        third = asyncio.create_task(fetch(upstream))
        await until(lambda: upstream.usage().waiting == 2)
        second.cancel()
        held.go.set()
        assert [await first, await third] == [b"ok", b"ok"]
        assert (second.cancelled(), peer.connections) == (True, 1)


async def test_a_connection_handed_to_a_waiter_in_its_last_moment_goes_on_to_the_next() -> None:
    held = Held()
    async with talking(held, max_connections=1) as (upstream, peer):
        first = asyncio.create_task(fetch(upstream))
        await until(lambda: len(peer.requests) == 1)
        second = asyncio.create_task(fetch(upstream))
        third = asyncio.create_task(fetch(upstream))
        await until(lambda: upstream.usage().waiting == 2)
        held.go.set()
        while upstream.usage().waiting == 2:  # noqa: ASYNC110 (each turn: before the waiter's own)
            await asyncio.sleep(0)
        assert second.cancel()
        assert [await first, await third] == [b"ok", b"ok"]
        assert (second.cancelled(), peer.connections) == (True, 1)


async def test_a_slot_handed_to_a_waiter_in_its_last_moment_goes_on_to_the_next() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(ANSWER if wire.number > 1 else ANSWER[:-1])
        await wire.gone()

    async with talking(script, max_connections=1) as (upstream, _):
        first = await get(upstream)
        second = asyncio.create_task(fetch(upstream))
        third = asyncio.create_task(fetch(upstream))
        await until(lambda: upstream.usage().waiting == 2)
        first.abort()
        assert second.cancel()
        assert await third == b"ok"
        assert second.cancelled()


async def test_a_connection_lost_on_its_way_to_a_waiter_is_replaced() -> None:
    async with talking(answering(ANSWER), max_connections=1) as (upstream, peer):
        pool = upstream._pool
        first = await pool.acquire()
        waiting = asyncio.create_task(pool.acquire())
        await until(lambda: upstream.usage().waiting == 1)
        pool.release(first)
        first.close()
        second = await waiting
        assert second.is_ready()
        await until(lambda: peer.connections == 2)
        assert upstream.usage().connections == 1


async def test_a_peer_that_accepts_and_closes_is_an_error_and_no_leak() -> None:
    async def script(wire: Wire) -> None:
        pass

    async with talking(script, max_connections=1) as (upstream, peer):
        for number in range(1, 4):
            with pytest.raises(UpstreamError) as caught:
                await get(upstream)
            assert caught.value.kind in ("connect_failed", "reset")
            assert upstream.usage().connections == 0
            await until(lambda number=number: peer.connections == number)  # type: ignore[misc]


async def test_idle_connections_are_bounded() -> None:
    held = Held()
    async with talking(held, max_idle_connections=2) as (upstream, peer):
        calls = [asyncio.create_task(fetch(upstream)) for _ in range(5)]
        await until(lambda: len(peer.requests) == 5)
        held.go.set()
        await asyncio.gather(*calls)
        assert (upstream.usage().connections, upstream.usage().idle) == (2, 2)
        await until(lambda: len(peer.open) == 2)


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with talking(answering(ANSWER), idle_ttl_s=0.05) as (upstream, peer):
        await fetch(upstream)
        await until(lambda: not peer.open)
        assert upstream.usage().connections == 0


async def test_use_puts_off_the_end_of_an_idle_connection() -> None:
    loop = asyncio.get_running_loop()
    async with talking(answering(ANSWER), idle_ttl_s=0.3) as (upstream, peer):
        until_s = loop.time() + 1.0
        while loop.time() < until_s:
            await fetch(upstream)
        assert peer.connections == 1


async def test_a_connection_closed_by_the_peer_while_idle_is_not_used_again() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(ANSWER)

    async with talking(script) as (upstream, peer):
        for number in range(1, 4):
            assert await fetch(upstream) == b"ok"
            await until(lambda: upstream.usage().connections == 0)
            assert upstream.usage().idle == 0
            assert peer.connections == number


async def test_a_stray_byte_closes_an_idle_connection() -> None:
    stray = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(ANSWER)
        if wire.number == 1:
            await stray.wait()
            await wire.say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
            await wire.gone()
        else:
            await wire.request()

    async with talking(script) as (upstream, peer):
        await fetch(upstream)
        stray.set()
        await until(lambda: upstream.usage().connections == 0)
        assert await fetch(upstream) == b"ok"
        assert peer.connections == 2


async def test_nothing_is_sent_again_once_a_byte_was_written() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(ANSWER)
        await wire.request()  # and close without an answer

    async with talking(script) as (upstream, peer):
        await fetch(upstream)
        with pytest.raises(UpstreamError) as caught:
            await upstream.send(b"POST", b"/", [], b"once")
        assert (caught.value.kind, caught.value.sent) == ("reset", True)
        assert [request.body for request in peer.requests] == [b"", b"once"]
        assert peer.connections == 1


async def test_a_refused_connection_is_connect_failed_and_frees_its_slot() -> None:
    upstream = HttpUpstream(
        UpstreamSettings(scheme="http", host="127.0.0.1", port=free_port(), max_connections=1)
    )
    for _ in range(3):
        with pytest.raises(UpstreamError) as caught:
            await get(upstream)
        assert (caught.value.kind, caught.value.sent) == ("connect_failed", False)
    assert upstream.usage().connections == 0
    await upstream.aclose()


async def test_a_name_that_does_not_exist_is_connect_failed() -> None:
    upstream = HttpUpstream(UpstreamSettings(scheme="http", host="no-such-host.invalid"))
    with pytest.raises(UpstreamError) as caught:
        await get(upstream)
    assert (caught.value.kind, caught.value.sent) == ("connect_failed", False)
    await upstream.aclose()


async def reach_past(first: str, then: str, *, port: int, within_s: float) -> float:
    """Connect to a name whose first address is no use; returns the seconds it took."""
    loop = asyncio.get_running_loop()
    async with serving(answering(ANSWER), address=(then, port)) as peer:
        settings = UpstreamSettings(scheme="http", host="api.example", port=peer.port)
        began_s = loop.time()
        connection = await connect_first([first, then], settings, None, began_s + within_s)
        took_s = loop.time() - began_s
        await until(lambda: peer.connections == 1)
        connection.close()
        await until(lambda: not peer.open)
    return took_s


async def test_a_refusing_address_gives_way_to_the_next() -> None:
    assert await reach_past(OTHER_LOOPBACK, "127.0.0.1", port=0, within_s=5.0) < 1.0


async def test_a_silent_address_costs_its_share_of_the_time_only() -> None:
    async with silent_address() as (host, port):
        assert 0.15 < await reach_past(host, OTHER_LOOPBACK, port=port, within_s=0.4) < 0.4


async def test_a_silent_upstream_is_connect_timeout() -> None:
    async with silent_address() as (host, port):
        upstream = HttpUpstream(
            UpstreamSettings(scheme="http", host=host, port=port, connect_timeout_s=0.1)
        )
        with pytest.raises(UpstreamError) as caught:
            await get(upstream)
        assert (caught.value.kind, caught.value.sent) == ("connect_timeout", False)
        assert upstream.usage().connections == 0
        await upstream.aclose()


async def test_every_address_of_a_name_is_known_and_a_literal_needs_no_lookup() -> None:
    assert "127.0.0.1" in await look_up("localhost")
    assert await look_up("::1") == ["::1"]


async def test_a_name_with_an_address_that_refuses_still_connects() -> None:
    """localhost may be ::1 first, where nobody listens."""
    async with serving(answering(ANSWER)) as peer, client_of(peer, host="localhost") as upstream:
        assert await fetch(upstream) == b"ok"
        assert b"host: localhost:%d" % peer.port in peer.requests[0].lines


async def test_closing_waits_for_what_is_under_way_and_takes_nothing_new() -> None:
    held = Held()
    async with talking(held) as (upstream, peer):
        call = asyncio.create_task(fetch(upstream))
        await until(lambda: len(peer.requests) == 1)
        closing = asyncio.create_task(upstream.aclose(drain_s=60))
        await asyncio.sleep(0)
        with pytest.raises(UpstreamError) as caught:
            await get(upstream)
        assert (caught.value.kind, caught.value.sent) == ("connect_failed", False)
        assert not closing.done()
        held.go.set()
        assert await call == b"ok"
        await closing
        assert upstream.usage().connections == 0


async def test_closing_cuts_off_at_the_deadline() -> None:
    async with talking(Held(), max_connections=1) as (upstream, peer):
        call = asyncio.create_task(fetch(upstream))
        await until(lambda: len(peer.requests) == 1)
        waiting = asyncio.create_task(fetch(upstream))
        await until(lambda: upstream.usage().waiting == 1)
        await upstream.aclose(drain_s=0.05)
        results = await asyncio.gather(call, waiting, return_exceptions=True)
        assert [getattr(result, "kind", None) for result in results] == ["reset", "pool_exhausted"]
        assert upstream.usage().connections == 0


async def test_closing_while_connecting_leaves_nothing() -> None:
    async with serving(Wire.gone) as peer:
        for turns in range(10):
            async with client_of(peer) as upstream:
                call = asyncio.create_task(fetch(upstream))
                for _ in range(turns):
                    await asyncio.sleep(0)
                await upstream.aclose()
                result = (await asyncio.gather(call, return_exceptions=True))[0]
                assert getattr(result, "kind", None) in ("connect_failed", "reset")
                assert upstream.usage().connections == 0


async def test_closing_closes_idle_connections_at_once() -> None:
    async with talking(answering(ANSWER)) as (upstream, peer):
        await fetch(upstream)
        await upstream.aclose(drain_s=60)
        assert upstream.usage().connections == 0
        await until(lambda: not peer.open)
