"""The listener's bounds that need a transport of known size; the rest is under tests/surfaces."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from gateway.adapters.http_server import BoundedProtocol, listening

BODY = b"x" * 60_000  # under the transport's high-water mark: it is never told to pause


async def answer(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"%d" % len(BODY)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def test_the_last_piece_of_an_answer_waits_no_longer_than_the_rest() -> None:
    config = uvicorn.Config(answer, http=listening(write_timeout_s=0.2), log_config=None, ws="none")
    config.load()
    state = ServerState()
    before = BoundedProtocol.cut_off
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    server = await loop.create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}),  # type: ignore[call-arg]
        sock=listener,
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")
        async with asyncio.timeout(5):
            while not state.total_requests or state.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    server.close()
    await server.wait_closed()
    assert BoundedProtocol.cut_off == before + 1
