"""A client that does not read what it asked for does not keep an upstream connection."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.loadtests.processes import GatewayProcess

from ..adapters.upstream.peer import STREAM_HEAD, Peer, Wire, serving
from .conftest import GOOD_KEY, metric, write_accounts, write_policy
from .raw_http import chat

PIECE = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
WIRE = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n"
    b"Authorization: Bearer " + GOOD_KEY.encode() + b"\r\n\r\n"
)


async def endless(wire: Wire) -> None:
    await wire.request()
    await wire.say(STREAM_HEAD)
    while True:
        await wire.say(PIECE)


@asynccontextmanager
async def flooded(folder: Path) -> AsyncIterator[tuple[GatewayProcess, Peer]]:
    """A gateway that waits a second for its readers, before an API that never stops."""
    policy = write_policy(folder / "policy")
    accounts = write_accounts(folder / "accounts.jsonl")
    config = folder / "config.yaml"
    async with serving(endless) as peer:
        config.write_text(
            f"upstreams: [{{url: 'http://127.0.0.1:{peer.port}'}}]\n"
            "client_write_timeout_s: 1\nprobe_upstreams: false\n"
        )
        options = ("--config", str(config), "--policy", str(policy), "--accounts", str(accounts))
        server = await asyncio.to_thread(GatewayProcess, folder / "data", *options)
        try:
            yield server, peer
        finally:
            await asyncio.to_thread(server.stop)


def ask(server: GatewayProcess) -> socket.socket:
    """A request on a connection that takes little before it is read."""
    parts = urlsplit(server.url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    sock.settimeout(10)
    sock.connect((parts.hostname, parts.port))
    body = chat(stream=True)
    sock.sendall(WIRE % len(body) + body)
    return sock


def read_nothing(sock: socket.socket) -> None:
    """Until the time is over in any case."""


def read_a_little(sock: socket.socket) -> None:
    """10 KB a second, which never takes 64 KiB within one."""
    ends = time.monotonic() + 4
    try:
        while time.monotonic() < ends and sock.recv(512):
            time.sleep(0.05)
    except ConnectionError:
        return


@pytest.mark.parametrize("behave", [read_nothing, read_a_little])
async def test_a_client_that_does_not_read_frees_its_upstream_connection(
    behave: Callable[[socket.socket], None], tmp_path: Path
) -> None:
    async with flooded(tmp_path) as (server, peer):
        with await asyncio.to_thread(ask, server) as sock:
            reading = asyncio.create_task(asyncio.to_thread(behave, sock))
            async with asyncio.timeout(15):
                while not peer.requests or peer.open:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.05)
            await reading
        assert await asyncio.to_thread(metric, server, "hydragate_slow_clients_total") == 1
        assert await asyncio.to_thread(metric, server, "hydragate_inflight") == 0
        left = await asyncio.to_thread(
            metric, server, "hydragate_exchanges_total", outcome="client_left"
        )
        assert left == 1


async def test_a_client_that_reads_steadily_is_never_cut(tmp_path: Path) -> None:
    """1 MB a second, for three times as long as a reader may pause."""

    def read() -> int:
        taken = 0
        with ask(server) as sock:
            ends = time.monotonic() + 3
            while time.monotonic() < ends:
                for _ in range(8):
                    taken += len(sock.recv(16_384))
                time.sleep(0.1)
        return taken

    async with flooded(tmp_path) as (server, _):
        assert await asyncio.to_thread(read) > 500_000
        assert await asyncio.to_thread(metric, server, "hydragate_slow_clients_total") == 0
