"""What the upstream client costs: CPU microseconds per request and per streamed chunk.

Client and server run on a core each. The server is as small as a server can be and answers
whatever comes, so that the client is what is measured. Bounded: about ten seconds.
Run it as `python -m hydragate.loadtests.bench_upstream`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import uvloop

from ..adapters.upstream import HttpUpstream, UpstreamSettings

ANSWER_BYTES = 1_000
REQUEST_BODY = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * 1_450 + b'"}]}'
CHUNKS_PER_STREAM = 200
CHUNK_EVERY_S = 0.002
STREAMS = 32
WARM_UP_S = 0.5
MEASURED_S = 2.0
DEADLINE_S = 30.0

REQUEST_HEADERS = [
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"OpenAI/Python 2.0.0"),
    (b"authorization", b"Bearer sk-0123456789abcdef0123456789abcdef"),
    (b"x-stainless-lang", b"python"),
    (b"x-stainless-package-version", b"2.0.0"),
    (b"accept-encoding", b"identity"),
    (b"x-request-id", b"01HZY3W6R2M8K4QJ5T7V9X0ABC"),
]
RESPONSE_HEADERS = (
    b"HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: bench\r\n"
    b"content-type: application/json\r\nx-request-id: 01HZY3W6R2M8K4QJ5T7V9X0ABC\r\n"
    b"x-ratelimit-remaining-requests: 100\r\nvary: accept\r\n"
)
ANSWER = RESPONSE_HEADERS + b"content-length: %d\r\n\r\n" % ANSWER_BYTES + b"x" * ANSWER_BYTES
EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":" word"}}]}\n\n'
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; a unit is a request or a chunk."""

    name: str
    units_per_s: float
    cpu_us_per_unit: float


class BenchServer(asyncio.Protocol):
    """Takes what ends in a closing brace for a whole request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"POST /stream"):
            self.transport.write(RESPONSE_HEADERS + b"transfer-encoding: chunked\r\n\r\n")
            self.write_chunk(CHUNKS_PER_STREAM)
        elif data.endswith(b"}"):
            self.transport.write(ANSWER)

    def write_chunk(self, left: int) -> None:
        if self.transport.is_closing():
            return
        if left:
            self.transport.write(CHUNK)
            asyncio.get_running_loop().call_later(CHUNK_EVERY_S, self.write_chunk, left - 1)
        else:
            self.transport.write(b"0\r\n\r\n")


async def serve() -> None:
    """Until standard input ends, and never longer than the deadline."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(BenchServer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = loop.run_in_executor(None, sys.stdin.buffer.read)
    await asyncio.wait([ended], timeout=DEADLINE_S)
    os._exit(0)


async def ask(upstream: HttpUpstream) -> int:
    response = await upstream.send(b"POST", b"/v1/answer", REQUEST_HEADERS, REQUEST_BODY)
    body = await response.read_chunk()
    while chunk := await response.read_chunk():
        body += chunk
    if response.status != 200 or len(body) != ANSWER_BYTES:
        raise RuntimeError(f"status {response.status}, {len(body)} bytes")
    return 1


async def stream(upstream: HttpUpstream) -> int:
    response = await upstream.send(b"POST", b"/stream", REQUEST_HEADERS, REQUEST_BODY)
    chunks = size_bytes = 0
    while chunk := await response.read_chunk():
        chunks += 1
        size_bytes += len(chunk)
    if size_bytes != CHUNKS_PER_STREAM * len(EVENT):
        raise RuntimeError(f"{size_bytes} bytes of a stream")
    return chunks


async def drive(one: Callable[[], Awaitable[int]], *, callers: int, for_s: float) -> int:
    """Closed loop; returns the units done."""
    until_s = time.perf_counter() + for_s

    async def caller() -> int:
        done = 0
        while time.perf_counter() < until_s:
            done += await one()
        return done

    return sum(await asyncio.gather(*(caller() for _ in range(callers))))


async def measure(name: str, one: Callable[[], Awaitable[int]], *, callers: int) -> Row:
    await drive(one, callers=callers, for_s=WARM_UP_S)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    units = await drive(one, callers=callers, for_s=MEASURED_S)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return Row(name, units / wall_s, cpu_s / units * 1e6)


async def run(port: int) -> list[Row]:
    upstream = HttpUpstream(UpstreamSettings(scheme="http", host="127.0.0.1", port=port))
    try:
        return [
            await measure("request, 32 callers", lambda: ask(upstream), callers=32),
            await measure("request, 1 caller", lambda: ask(upstream), callers=1),
            await measure(
                f"chunk, {STREAMS} streams of {CHUNKS_PER_STREAM}",
                lambda: stream(upstream),
                callers=STREAMS,
            ),
        ]
    finally:
        await upstream.aclose()


def pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


def main() -> None:
    """Print the table."""
    server = subprocess.Popen(
        [sys.executable, "-m", __spec__.name if __spec__ else __name__, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        pin(0)
        rows = uvloop.run(run(port))
    finally:
        server.kill()
        server.wait()
    print(f"{'':32}{'per second':>12}{'CPU us each':>12}")
    for row in rows:
        print(f"{row.name:32}{row.units_per_s:12,.0f}{row.cpu_us_per_unit:12.1f}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        pin(1)
        uvloop.run(serve())
    else:
        main()
