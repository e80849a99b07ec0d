"""Where a response ends, told by what is on the wire; and what is no response at all."""

from __future__ import annotations

import asyncio

import pytest

from gateway.adapters.upstream import HttpUpstream
from gateway.errors import UpstreamError

from .peer import (
    ANSWER,
    STREAM_HEAD,
    Wire,
    answering,
    client_of,
    fetch,
    get,
    saying,
    serving,
    talking,
    until,
    whole,
)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n"


async def is_reused(raw: bytes, method: bytes = b"GET") -> tuple[bytes, bool]:
    """The body of `raw`, and whether its connection carried the next request."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(raw)
        await wire.request()
        await wire.say(ANSWER)
        await wire.gone()

    async def fresh(wire: Wire) -> None:
        await (script(wire) if wire.number == 1 else answering(ANSWER)(wire))

    async with talking(fresh) as (upstream, peer):
        body = await fetch(upstream, method)
        assert await fetch(upstream) == b"ok"
        return body, peer.connections == 1


REUSED: dict[str, tuple[bytes, bytes, bytes]] = {
    "content-length": (b"GET", OK + b"Content-Length: 3\r\n\r\nabc", b"abc"),
    "empty": (b"GET", OK + b"Content-Length: 0\r\n\r\n", b""),
    "chunked": (b"GET", STREAM_HEAD + CHUNKED, b"abcde"),
    "chunked in capitals": (b"GET", OK + b"Transfer-Encoding: CHUNKED\r\n\r\n" + CHUNKED, b"abcde"),
    "trailers": (b"GET", STREAM_HEAD + b"2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n", b"ab"),
    "HTTP/1.0 that keeps alive": (
        b"GET",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx",
        b"x",
    ),
    "204": (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "204 with a length": (b"GET", b"HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n", b""),
    "304 with a length": (b"GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", b""),
    "100 first": (b"GET", b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, b"ok"),
    "103 first, twice": (
        b"GET",
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 2 + ANSWER,
        b"ok",
    ),
    "no reason phrase": (b"GET", b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", b""),
}
NOT_REUSED: dict[str, tuple[bytes, bytes, bytes]] = {
    "connection: close": (b"GET", OK + b"connection: close\r\ncontent-length: 1\r\n\r\nx", b"x"),
    "HTTP/1.0": (b"GET", b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", b"x"),
    "HEAD": (b"HEAD", OK + b"content-length: 3\r\n\r\n", b""),
    "HEAD of a stream": (b"HEAD", STREAM_HEAD, b""),
    "HEAD without any framing": (b"HEAD", OK + b"\r\n", b""),
    "HEAD, and yet a body": (b"HEAD", OK + b"content-length: 3\r\n\r\nabc", b""),
    "a byte too many": (b"GET", ANSWER + b"x", b"ok"),
    "a byte after the last chunk": (b"GET", STREAM_HEAD + CHUNKED + b"x", b"abcde"),
    "a second response": (b"GET", ANSWER + OK + b"content-length: 4\r\n\r\nevil", b"ok"),
    "the beginning of a second one": (b"GET", ANSWER + b"HTTP/1.1 200 O", b"ok"),
    "a body after 204": (b"GET", b"HTTP/1.1 204 No Content\r\n\r\nabc", b""),
    "a body after 304": (b"GET", b"HTTP/1.1 304 Not Modified\r\n\r\n" + ANSWER, b""),
}


@pytest.mark.parametrize(("method", "raw", "body"), REUSED.values(), ids=REUSED)
async def test_a_whole_response_leaves_its_connection_usable(
    method: bytes, raw: bytes, body: bytes
) -> None:
    assert await is_reused(raw, method) == (body, True)


@pytest.mark.parametrize(("method", "raw", "body"), NOT_REUSED.values(), ids=NOT_REUSED)
async def test_doubt_about_where_a_response_ended_costs_the_connection(
    method: bytes, raw: bytes, body: bytes
) -> None:
    assert await is_reused(raw, method) == (body, False)


@pytest.mark.parametrize(
    ("raw", "body"),
    [(STREAM_HEAD + CHUNKED, b"abcde"), (ANSWER, b"ok"), (OK + b"\r\nabc", b"abc")],
    ids=["chunked", "content-length", "close"],
)
async def test_a_response_in_single_bytes_is_the_same_response(raw: bytes, body: bytes) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        for at in range(len(raw)):
            await wire.say(raw[at : at + 1])
            await asyncio.sleep(0)

    async with talking(script) as (upstream, _):
        assert await fetch(upstream) == body


async def test_without_framing_the_close_ends_the_body() -> None:
    async with talking(saying(OK + b"content-type: text/plain\r\n\r\nto the end")) as (upstream, _):
        response = await get(upstream)
        assert (response.status, await whole(response)) == (200, b"to the end")
        assert upstream.usage().connections == 0


async def test_heads_come_as_sent_with_lower_case_names() -> None:
    raw = (
        OK + b"X-B: One\r\nx-a: \r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    )
    async with talking(saying(raw)) as (upstream, _):
        response = await get(upstream)
    assert response.headers == [
        (b"x-b", b"One"),
        (b"x-a", b""),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"content-length", b"0"),
    ]


async def test_neither_informational_fields_nor_trailers_join_the_head() -> None:
    raw = (
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        + STREAM_HEAD
        + b"1\r\nx\r\n0\r\nset-cookie: late\r\n\r\n"
    )
    async with talking(answering(raw)) as (upstream, _):
        for _ in range(2):
            response = await get(upstream)
            assert await whole(response) == b"x"
            assert response.headers == [(b"transfer-encoding", b"chunked")]


MALFORMED: dict[str, bytes] = {
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nab",
    "the same length twice": OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nab",
    "a list of lengths": OK + b"content-length: 2, 2\r\n\r\nab",
    "a signed length": OK + b"content-length: +2\r\n\r\nab",
    "a length in hex": OK + b"content-length: 0x2\r\n\r\nab",
    "an endless length": OK + b"content-length: 99999999999999999999\r\n\r\n",
    "length, then chunked": OK
    + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then length": OK
    + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    "a coding nobody asked for": OK + b"transfer-encoding: gzip\r\n\r\nab",
    "two codings": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings, chunked not last": OK + b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"transfer-encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "almost chunked": OK + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded field": OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "space before the colon": OK + b"content-length : 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "CR in a value": OK + b"x: a\rb\r\ncontent-length: 0\r\n\r\n",
    "NUL in a value": OK + b"x: a\0b\r\ncontent-length: 0\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.0\r\n",
    "status 099": b"HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 High\r\ncontent-length: 0\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nab",
    "an informational status that nobody knows": b"HTTP/1.1 199 Hm\r\n\r\n" + ANSWER,
    "too many fields": OK + b"x: y\r\n" * 201 + b"content-length: 0\r\n\r\n",
    "too large a field": OK + b"x: " + b"y" * 65_536 + b"\r\n\r\n",
    "a field without end": OK + b"x: " + b"y" * 300_000,
    "a reason without end": b"HTTP/1.1 200 " + b"y" * 300_000,
    "informational ones without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 12_000,
}
BROKEN_BODIES: dict[str, tuple[bytes, str]] = {
    "chunk size not hex": (STREAM_HEAD + b"2\r\nab\r\nxx\r\n", "protocol_error"),
    "chunk longer than it says": (STREAM_HEAD + b"2\r\nabc\r\n0\r\n\r\n", "protocol_error"),
    "negative chunk size": (STREAM_HEAD + b"2\r\nab\r\n-1\r\n", "protocol_error"),
    "endless chunk size": (STREAM_HEAD + b"2\r\nab\r\n" + b"f" * 20 + b"\r\n", "protocol_error"),
    "endless extension": (STREAM_HEAD + b"2\r\nab\r\n1;" + b"e" * 300_000, "protocol_error"),
    "endless trailer": (STREAM_HEAD + b"2\r\nab\r\n0\r\nx: " + b"y" * 300_000, "protocol_error"),
    "closed before the length": (OK + b"content-length: 3\r\n\r\nab", "reset"),
    "closed before the length, as announced": (
        OK + b"connection: close\r\ncontent-length: 3\r\n\r\nab",
        "reset",
    ),
    "closed between chunks": (STREAM_HEAD + b"2\r\nab\r\n", "reset"),
    "closed before the last CRLF": (STREAM_HEAD + b"2\r\nab\r\n0\r\n", "reset"),
    "closed within a chunk": (STREAM_HEAD + b"5\r\nab", "reset"),
}


async def broken(upstream: HttpUpstream) -> tuple[bytes, UpstreamError]:
    """What was read before the error, and the error."""
    body = b""
    with pytest.raises(UpstreamError) as caught:  # noqa: PT012
        response = await get(upstream)
        while chunk := await response.read_chunk():
            body += chunk
    return body, caught.value


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
async def test_an_ambiguous_or_malformed_head_is_no_response(raw: bytes) -> None:
    async with talking(saying(raw)) as (upstream, _):
        body, error = await broken(upstream)
        assert (body, error.kind, error.sent) == (b"", "protocol_error", True)
        assert upstream.usage().connections == 0


@pytest.mark.parametrize(("raw", "kind"), BROKEN_BODIES.values(), ids=BROKEN_BODIES)
async def test_a_broken_body_is_never_a_short_one(raw: bytes, kind: str) -> None:
    async with talking(saying(raw)) as (upstream, _):
        body, error = await broken(upstream)
        assert (body, error.kind, error.sent) == (b"ab", kind, True)
        assert upstream.usage().connections == 0


async def test_an_error_stays_an_error_for_whoever_asks_again() -> None:
    async with talking(saying(OK + b"content-length: 3\r\n\r\nab")) as (upstream, _):
        response = await get(upstream)
        assert await response.read_chunk() == b"ab"
        for _ in range(2):
            with pytest.raises(UpstreamError):
                await response.read_chunk()
            assert not response.at_end


async def test_a_head_at_the_bounds_is_fine_and_one_beyond_is_not() -> None:
    fields = b"x: " + b"y" * 96 + b"\r\n"  # 101 bytes; with content-length 928 in all
    raw = OK + fields * 9 + b"content-length: 0\r\n\r\n"
    async with talking(answering(raw), max_head_count=10) as (upstream, _):
        assert await fetch(upstream) == b""
    async with talking(answering(raw), max_head_count=9) as (upstream, _):
        assert (await broken(upstream))[1].kind == "protocol_error"
    async with talking(answering(raw), max_head_bytes=928) as (upstream, _):
        assert await fetch(upstream) == b""
    async with talking(answering(raw), max_head_bytes=927) as (upstream, _):
        assert (await broken(upstream))[1].kind == "protocol_error"


async def test_a_head_at_the_bound_may_have_its_body_later() -> None:
    head = STREAM_HEAD.removesuffix(b"\r\n") + b"x: " + b"y" * 96 + b"\r\n\r\n"
    go = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.say(head)
        await go.wait()
        await wire.say(CHUNKED)
        await wire.request()

    fields_bytes = len(b"transfer-encoding: chunked\r\n") + 101
    async with talking(script, max_head_bytes=fields_bytes) as (upstream, _):
        response = await get(upstream)
        go.set()
        assert await whole(response) == b"abcde"


async def test_the_bound_counts_each_response_alone() -> None:
    """Trailers in a piece of their own, then a head in two pieces, each below the bound."""
    trailer = b"x: " + b"y" * 200 + b"\r\n\r\n"

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            for piece in (STREAM_HEAD[:40], STREAM_HEAD[40:] + b"1\r\nx\r\n", b"0\r\n" + trailer):
                await wire.say(piece)
                await asyncio.sleep(0.01)

    async with talking(script, max_head_bytes=230) as (upstream, peer):
        for _ in range(3):
            assert await fetch(upstream) == b"x"
        assert peer.connections == 1


async def test_a_large_body_behind_a_small_head_is_no_large_head() -> None:
    body = b"z" * 300_000
    raw = OK + b"content-length: 300000\r\n\r\n" + body
    async with talking(answering(raw), max_head_bytes=200) as (upstream, _):
        assert await fetch(upstream) == body


async def test_a_peer_that_closes_without_a_word_is_a_reset() -> None:
    async def script(wire: Wire) -> None:
        await wire.request()

    async with serving(script) as peer, client_of(peer) as upstream:
        with pytest.raises(UpstreamError) as caught:
            await get(upstream)
        assert (caught.value.kind, caught.value.sent) == ("reset", True)
        assert len(peer.requests) == 1
        await until(lambda: not peer.tasks)
