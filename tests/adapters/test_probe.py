"""A model API that takes anyone is said to do so, once, and no other is."""

from __future__ import annotations

import logging

import pytest

from gateway.adapters.forward import Target
from gateway.adapters.probe import status_without_key, warn_of_open_upstreams
from gateway.adapters.upstream import HttpUpstream, UpstreamSettings

from .upstream.peer import Wire, answering, client_of, serving

OPEN = b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"data":[]}'
CLOSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
MOVED = b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "is_open"),
    [
        pytest.param(OPEN, True, id="served"),
        pytest.param(CLOSED, False, id="asked for a key"),
        pytest.param(MOVED, False, id="sent elsewhere"),
    ],
)
async def test_only_an_api_that_serves_nobody_in_particular_is_warned_of(
    answer: bytes, is_open: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(answering(answer)) as peer:
        upstream = HttpUpstream(UpstreamSettings(scheme="http", host="127.0.0.1", port=peer.port))
        with caplog.at_level(logging.WARNING, "hydragate.probe"):
            await warn_of_open_upstreams([Target("main", upstream, b"/api")])
        assert upstream.usage().connections == 0
        request = peer.requests[0]
    assert len(peer.requests) == 1
    assert request.lines[0] == b"GET /api/v1/models HTTP/1.1"
    names = {line.partition(b":")[0] for line in request.lines[1:]}
    assert names == {b"host", b"user-agent", b"accept"}
    said = [record.getMessage() for record in caplog.records]
    assert ["'main' answers GET /api/v1/models without any key (200)" in text for text in said] == (
        [True] if is_open else []
    )


async def test_an_api_that_is_not_there_or_says_nonsense_is_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def nonsense(wire: Wire) -> None:
        await wire.request()
        await wire.say(b"hello?\r\n\r\n")

    async with serving(nonsense) as peer, client_of(peer) as upstream:
        assert await status_without_key(Target("main", upstream)) is None
    gone = HttpUpstream(UpstreamSettings(scheme="http", host="127.0.0.1", port=peer.port))
    with caplog.at_level(logging.WARNING, "hydragate.probe"):
        await warn_of_open_upstreams([Target("gone", gone)])
    assert caplog.records == []
