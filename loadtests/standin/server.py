"""The stand-in's server: asyncio and httptools, cheap enough to stand behind a benchmark.

`--fast` answers every inference call with fixed bytes at once; otherwise answers follow from the
request and come at a believable pace, which `--time-scale` speeds up. Tests steer single answers
with the `x-standin` header: `status=529`, `retry-after=2`, `latency=0.5`, `tokens=20`,
`chunk-delay=0.05`, `reset-after=3`, `stall-after=3` (chunks), `no-usage`, `gzip`, `big=5000000`,
`close`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import secrets
import socket
import struct
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import httptools

from . import anthropic, openai
from .openai import Chunk
from .script import Answer, Controls, answer_to

MODELS = ("stand-in", "stand-in-large", "stand-in-mini")
MAX_BODY_BYTES = 256 * 1024 * 1024
KEPT_REQUESTS = 64
BAD_KEY_PREFIX = b"sk-bad"
REASONS = {200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 404: b"Not Found",
           413: b"Content Too Large", 429: b"Too Many Requests", 500: b"Internal Server Error",
           503: b"Service Unavailable", 529: b"Overloaded"}  # fmt: skip


@dataclass(slots=True)
class StandInSettings:
    """`time_scale` 0 answers without any pause; `error_rate` draws 429, 500 and 529 alike."""

    fast: bool = False
    time_scale: float = 1.0
    seed: int = 1
    error_rate: float = 0.0
    output_bytes: int = 1024


@dataclass(slots=True)
class Stats:
    requests: int = 0
    by_route: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    tokens_out: int = 0
    cancelled: int = 0
    inflight: int = 0
    kept: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))

    def as_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "by_route": dict(self.by_route),
            "by_status": {str(status): count for status, count in self.by_status.items()},
            "tokens_out": self.tokens_out,
            "cancelled": self.cancelled,
            "inflight": self.inflight,
        }


class StandIn(asyncio.Protocol):
    """One connection; requests on it are answered one after the other."""

    def __init__(self, settings: StandInSettings, stats: Stats, shared: _Shared) -> None:
        self._settings = settings
        self._stats = stats
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._pairs: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._queue: deque[tuple[str, str, list[tuple[bytes, bytes]], bytes, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._has_begun = False
        self._shared = shared

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._task is not None and not self._task.done():
            self._stats.cancelled += 1
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
            self._close()

    def on_message_begin(self) -> None:
        self._url, self._pairs, self._body = b"", [], bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._pairs.append((name.lower(), value))
        if name.lower() == b"expect":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if len(self._body) <= MAX_BODY_BYTES:  # one byte too many is kept, to be told
            self._body += body

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        path = self._url.partition(b"?")[0].decode("latin-1")
        keep_alive = self._parser.should_keep_alive()
        self._stats.requests += 1
        if self._settings.fast and self._task is None and method == "POST":
            is_stream = b'"stream":true' in self._body or b'"stream": true' in self._body
            is_anthropic = path.startswith("/v1/messages")
            self._write(self._shared.fast[is_anthropic, is_stream])
            if not keep_alive:
                self._close()
            return
        self._queue.append((method, path, self._pairs, bytes(self._body), keep_alive))
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._work())

    async def _work(self) -> None:
        while self._queue and self._transport is not None:
            method, path, pairs, body, keep_alive = self._queue.popleft()
            self._stats.inflight += 1
            try:
                await self._answer(method, path, pairs, body)
            except (ValueError, TypeError, AttributeError, KeyError) as error:
                self._refuse(path, f"not understood: {error}")
            finally:
                self._stats.inflight -= 1
            if not keep_alive:
                self._close()
        self._task = None

    def _refuse(self, path: str, message: str) -> None:
        """400 for what a real API's checks would refuse; a stream that has begun is broken off."""
        if self._has_begun:
            self._reset()
        else:
            dialect = anthropic if path.startswith("/v1/messages") else openai
            self._json(400, dialect.error(400, message))

    async def _answer(
        self, method: str, path: str, pairs: list[tuple[bytes, bytes]], raw: bytes
    ) -> None:
        headers = dict(pairs)
        self._has_begun = False
        if path.startswith("/standin/"):
            self._own(path)
            return
        self._stats.by_route[f"{method} {path}"] += 1
        self._stats.kept.append(
            {
                "method": method,
                "path": path,
                "headers": [[n.decode("latin-1"), v.decode("latin-1")] for n, v in pairs],
                "body": raw[:65_536].decode("utf-8", "replace"),
            }
        )
        is_anthropic = path.startswith("/v1/messages") or b"anthropic-version" in headers
        dialect = anthropic if is_anthropic else openai
        controls = Controls.parse(headers.get(b"x-standin", b""))
        key = headers.get(b"authorization", b"").removeprefix(b"Bearer ") or headers.get(
            b"x-api-key", b""
        )
        if key.startswith(BAD_KEY_PREFIX):
            self._json(401, dialect.error(401, "Incorrect API key provided."), method=method)
            return
        if controls.has("status"):
            await self._pause(controls.number("latency") or 0)
            self._fail(int(controls.values["status"]), dialect, controls)
            return
        await self._call(method, path, raw, controls, is_anthropic=is_anthropic)

    async def _call(
        self, method: str, path: str, raw: bytes, controls: Controls, *, is_anthropic: bool
    ) -> None:
        dialect = anthropic if is_anthropic else openai
        if method in ("GET", "HEAD"):
            self._list_models(method, path, is_anthropic=is_anthropic)
            return
        if len(raw) > MAX_BODY_BYTES:
            self._json(413, dialect.error(413, "The body is too large."))
            return
        try:
            body = json.loads(raw)
            if not isinstance(body, dict):
                raise ValueError("not an object")
        except ValueError:
            self._json(400, dialect.error(400, "The body is no JSON object."))
            return
        answer = answer_to(body, raw, seed=self._settings.seed, controls=controls)
        if self._shared.errors.random() < self._settings.error_rate:
            overloaded = 529 if is_anthropic else 503
            self._fail(self._shared.errors.choice((429, 500, overloaded)), dialect, controls)
            return
        if path not in ("/v1/embeddings", "/v1/messages/count_tokens", "/v1/messages/batches"):
            self._stats.tokens_out += answer.output_tokens
        latency = controls.number("latency")
        await self._pause(
            answer.first_token_s * self._settings.time_scale if latency is None else latency
        )
        streams = {
            "/v1/chat/completions": openai.chat_stream,
            "/v1/responses": openai.responses_stream,
            "/v1/messages": anthropic.message_stream,
        }
        if body.get("stream") is True and path in streams:
            await self._stream(streams[path](body, answer), answer, controls)
            return
        await self._pause(
            0 if latency is not None else
            answer.output_tokens * answer.seconds_per_token * self._settings.time_scale
        )  # fmt: skip
        self._whole(path, body, answer, controls)

    def _whole(self, path: str, body: dict[str, Any], answer: Answer, controls: Controls) -> None:
        builders = {
            "/v1/chat/completions": lambda: openai.chat(body, answer),
            "/v1/responses": lambda: openai.responses(body, answer),
            "/v1/embeddings": lambda: openai.embeddings(body, answer),
            "/v1/messages": lambda: anthropic.message(body, answer),
            "/v1/messages/count_tokens": lambda: anthropic.count_tokens(answer),
            "/v1/messages/batches": lambda: anthropic.batch(body, answer),
        }
        build = builders.get(path)
        if build is None:
            dialect = anthropic if path.startswith("/v1/messages") else openai
            self._json(404, dialect.error(404, f"no route {path}"))
            return
        said = build()
        if controls.has("no-usage"):
            said.pop("usage", None)
        if controls.has("big"):
            said["padding"] = "x" * int(controls.values["big"])
        self._json(200, said, controls=controls)

    async def _stream(self, chunks: Iterator[Chunk], answer: Answer, controls: Controls) -> None:
        chunks = chain(
            [next(chunks)], chunks
        )  # a body that is not understood fails before the head
        self._stats.by_status[200] += 1
        self._write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"transfer-encoding: chunked\r\n" + _request_id() + b"\r\n"
        )
        self._has_begun = True
        delay = controls.number("chunk-delay")
        pace_s = answer.seconds_per_token * self._settings.time_scale if delay is None else delay
        reset_after, stall_after = controls.number("reset-after"), controls.number("stall-after")
        owed_s = 0.0
        for index, (data, tokens) in enumerate(chunks):
            if index == reset_after:
                self._reset()
                return
            if index == stall_after:
                await asyncio.sleep(3600)
            if controls.has("no-usage") and b'"usage":{' in data:
                continue
            if self._transport is None:
                return
            self._write(b"%x\r\n%b\r\n" % (len(data), data))
            owed_s += pace_s * tokens
            if owed_s > 0.004:  # the loop's clock is no finer; short gaps are taken together
                await asyncio.sleep(owed_s)
                owed_s = 0.0
        self._write(b"0\r\n\r\n")
        if controls.has("close"):
            self._close()

    def _list_models(self, method: str, path: str, *, is_anthropic: bool) -> None:
        name = path.removeprefix("/v1/models").strip("/")
        if not path.startswith("/v1/models") or (name and name not in MODELS):
            dialect = anthropic if is_anthropic else openai
            self._json(404, dialect.error(404, "no such thing"), method=method)
        elif name:
            said = openai.model(name)
            self._json(200, anthropic.models((name,))["data"][0] if is_anthropic else said,
                       method=method)  # fmt: skip
        else:
            said = anthropic.models(MODELS) if is_anthropic else openai.models(MODELS)
            self._json(200, said, method=method)

    def _fail(self, status: int, dialect: Any, controls: Controls) -> None:
        extra = b""
        if status == 429 or controls.has("retry-after"):
            wait = controls.values.get("retry-after", "1")
            extra = b"retry-after: " + wait.encode() + b"\r\n"
        self._json(status, dialect.error(status, f"stand-in says {status}"), extra=extra)

    def _own(self, path: str) -> None:
        if path == "/standin/reset":
            self._stats.__init__()  # type: ignore[misc]
        said = list(self._stats.kept) if path == "/standin/requests" else self._stats.as_json()
        self._json(200, said)

    def _json(
        self,
        status: int,
        said: object,
        *,
        method: str = "POST",
        extra: bytes = b"",
        controls: Controls | None = None,
    ) -> None:
        self._stats.by_status[status] += 1
        data = json.dumps(said, separators=(",", ":")).encode()
        if controls is not None and controls.has("gzip"):
            data = gzip.compress(data)
            extra += b"content-encoding: gzip\r\n"
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (
            status,
            REASONS.get(status, b"Status"),
            len(data),
        )
        head += _request_id() + extra + b"\r\n"
        self._write(head if method == "HEAD" else head + data)
        if controls is not None and controls.has("close"):
            self._close()

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _reset(self) -> None:
        """Break off with a TCP reset."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def _request_id() -> bytes:
    """Both dialects' header: OpenAI's SDK reads the one, Anthropic's the other."""
    number = secrets.token_hex(12).encode()
    return b"x-request-id: req_%b\r\nrequest-id: req_%b\r\n" % (number, number)


class _Shared:
    """What all connections of a server share: fixed answers, and the order of drawn errors."""

    def __init__(self, settings: StandInSettings) -> None:
        self.errors = random.Random(settings.seed)
        self.fast = {
            (is_anthropic, is_stream): _fast_answer(settings.output_bytes, is_anthropic, is_stream)
            for is_anthropic in (False, True)
            for is_stream in (False, True)
        }


def _fast_answer(size: int, is_anthropic: bool, is_stream: bool) -> bytes:
    """A fixed answer: a whole one of about `size` bytes, or a stream of 20 tokens."""
    answer = answer_to({"model": "stand-in"}, b"{}", seed=1, controls=Controls({"tokens": "20"}))
    if is_stream:
        options = {"stream_options": {"include_usage": True}}
        make = anthropic.message_stream if is_anthropic else openai.chat_stream
        chunks = (b"%x\r\n%b\r\n" % (len(data), data) for data, _ in make(options, answer))
        head = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\n" + head + b"".join(chunks) + b"0\r\n\r\n"
    said = anthropic.message({}, answer) if is_anthropic else openai.chat({}, answer)
    holder = said["content"][0] if is_anthropic else said["choices"][0]["message"]
    holder["text" if is_anthropic else "content"] += "x" * max(0, size - len(json.dumps(said)))
    body = json.dumps(said, separators=(",", ":")).encode()
    head = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return b"HTTP/1.1 200 OK\r\n" + head + body


async def serve(host: str, port: int, settings: StandInSettings) -> asyncio.Server:
    """Start listening; the caller closes the server."""
    stats, shared = Stats(), _Shared(settings)
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: StandIn(settings, stats, shared), host, port, backlog=4096
    )
