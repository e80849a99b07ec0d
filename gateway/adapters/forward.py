"""The forwarder: an ASGI application that relays a request to the right model API.

It raises `UpstreamError` and renders nothing: the guard around it knows the caller's dialect.
A client that leaves cancels the upstream call at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any
from urllib.parse import quote

from ..errors import UpstreamError
from ..model import RequestFacts
from .headers import request_headers, response_headers
from .http_server import EXTENSION, ClientConnection
from .upstream import Upstream

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_LIMIT_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-", b"ratelimit")


@dataclass(frozen=True, slots=True)
class Target:
    """One model API and what it is for; empty `models` or `paths` match everything."""

    name: str
    upstream: Upstream
    path_prefix: bytes = b""
    models: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    credential: tuple[bytes, bytes] | None = None  # replaces whatever the caller sent

    def serves(self, path: str, model: str | None) -> bool:
        if self.paths and not path.startswith(self.paths):
            return False
        if not self.models:
            return True
        return model is not None and any(fnmatchcase(model, pattern) for pattern in self.models)


class NoUpstreamError(UpstreamError):
    """No upstream is configured for this model or path."""

    def __init__(self) -> None:
        super().__init__("not_configured", "no upstream serves this model or path", sent=False)


class LeftEarlyError(asyncio.CancelledError):
    """The client left while the decision was made: nothing was sent."""


class Forwarder:
    """Relays to the first target that serves the request's path and model."""

    def __init__(self, targets: tuple[Target, ...]) -> None:
        self._targets = targets
        self._only = targets[0] if len(targets) == 1 and not _selects(targets[0]) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises UpstreamError, also after the answer has begun, and CancelledError when the
        client leaves (the connection to the upstream is then closed already)."""
        if scope["type"] != "http":
            raise ValueError(f"the forwarder relays HTTP, not {scope['type']}")
        target = self._only or self._pick(scope)
        client: ClientConnection | None = scope.get("extensions", {}).get(EXTENSION)
        watch = None
        if client is not None:
            task = asyncio.current_task()
            if client.is_lost():
                raise LeftEarlyError
            client.when_lost(partial(_cancel, task))
        body = await _whole_body(receive)
        if client is None:
            watch = asyncio.ensure_future(_cancel_when_lost(receive, asyncio.current_task()))
        try:
            await self._relay(target, scope, body, send)
        finally:
            if client is not None:
                client.when_lost(None)
            if watch is not None:
                watch.cancel()

    async def _relay(self, target: Target, scope: Scope, body: bytes, send: Send) -> None:
        query: bytes = scope["query_string"]
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        if path[:1] != b"/":  # behind a prefix it would be another path than the one decided on
            raise NoUpstreamError
        path = target.path_prefix + path
        response = await target.upstream.send(
            scope["method"].encode("ascii"),
            path + b"?" + query if query else path,
            request_headers(scope["headers"], credential=target.credential),
            body,
        )
        headers = response_headers(response.headers)
        if target.credential is not None:  # the headroom of the operator's key is not the caller's
            headers = [pair for pair in headers if not pair[0].startswith(_LIMIT_PREFIXES)]
        try:
            await send(
                {"type": "http.response.start", "status": response.status, "headers": headers}
            )
            is_over = False
            while not is_over:
                chunk = await response.read_chunk()
                is_over = response.at_end or not chunk
                await send({"type": "http.response.body", "body": chunk, "more_body": not is_over})
        except BaseException:
            response.abort()
            raise

    def _pick(self, scope: Scope) -> Target:
        facts: RequestFacts | None = scope.get("state", {}).get("facts")
        model = facts.model if facts is not None else None
        for target in self._targets:
            if target.serves(scope["path"], model):
                return target
        raise NoUpstreamError

    async def aclose(self) -> None:
        for target in self._targets:
            await target.upstream.aclose()


def _selects(target: Target) -> bool:
    return bool(target.models or target.paths)


async def _whole_body(receive: Receive) -> bytes:
    """The guard hands the body on in one message; other servers may need several."""
    message = await receive()
    if not message.get("more_body", False):
        return bytes(message.get("body", b""))
    parts = [message.get("body", b"")]
    while message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _cancel(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel()


async def _cancel_when_lost(receive: Receive, task: asyncio.Task[Any] | None) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    _cancel(task)
