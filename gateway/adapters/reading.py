"""Reading a request from ASGI: head, credential, client address, and a bounded body.

Nothing here decides. What cannot be read safely ends up in `ReadRequest.error`, and its facts
still say enough to explain the refusal.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from ..engine import Engine
from ..errors import RequestError
from ..model import Decision, RequestFacts, Route
from .body import BodyFacts, ask_for_usage, decode_content, read_body
from .facts import NO_BODY, Address, Headers, build_facts
from .headers import TrustedEdge, check_headers, client_address, credential_of
from .http_server import EXTENSION, ClientConnection
from .routes import RouteTable, dialect_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MIB = 1024 * 1024
REPLACED_HEADERS = frozenset({b"content-length", b"content-encoding", b"transfer-encoding"})
NO_EDGE = TrustedEdge()
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")


class ClientLeftError(Exception):
    """The client closed the connection before its request was complete."""


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """Bounds and trust of one guard."""

    body_limit_bytes: int = 32 * MIB
    buffered_limit_bytes: int = 512 * MIB
    body_timeout_s: float = 60.0
    edge: TrustedEdge = NO_EDGE
    verification_url: Callable[[Decision], str] | None = None


@dataclass(slots=True)
class ReadRequest:
    """One request as far as it has been read; `error` says why no further."""

    facts: RequestFacts
    headers: Headers
    request_id: bytes
    shape: str | None = None
    body: bytes = b""
    buffered_bytes: int = 0
    hides_usage: bool = False
    error: RequestError | None = None


class RequestReader:
    """Reads requests for one guard and keeps the sum of what is buffered under a bound."""

    def __init__(self, engine: Engine, config: GuardConfig, surface: str) -> None:
        self.buffered_bytes = 0
        self._engine = engine
        self._config = config
        self._surface = surface
        self._routes = RouteTable(())
        self._routes_of: object = None

    async def read(self, scope: Scope, receive: Receive) -> ReadRequest:
        """Raises ClientLeftError only. What was buffered counts until `release`."""
        headers: Headers = scope["headers"]
        engine = self._engine
        received_us = engine.clock.now_us()
        decision_id = engine.ids.new_id(received_us)
        route = self._route(scope)
        dialect = route.dialect if route is not None else dialect_of(scope["path"])
        credential: str | None = None
        address: Address | None = None
        error: RequestError | None = None
        raw, body, buffered = b"", NO_BODY, 0
        try:
            check_headers(headers)
            address = client_address(scope.get("client"), headers, self._config.edge)
            credential = credential_of(
                headers, scope.get("client"), self._config.edge, engine.keyed
            )
            if route is not None and route.shape is not None:
                raw = await self._receive_body(scope, headers, receive)
                buffered = len(raw)
                self.buffered_bytes += buffered
                raw, body = self._parse(raw, headers, route.shape)
                grown = len(raw) - buffered  # what came compressed counts at its true size
                if grown > 0:
                    self._check_room(grown)
                    buffered += grown
                    self.buffered_bytes += grown
        except RequestError as found:
            error = found
        facts = build_facts(
            decision_id=decision_id,
            received_us=received_us,
            surface=self._surface,
            method=scope["method"],
            path=scope["path"],
            route=route,
            dialect=dialect,
            headers=headers,
            credential=credential,
            address=address,
            body=body,
            body_bytes=len(raw),
            keyed=engine.keyed,
            estimator=engine.estimator,
        )
        if self._config.edge.identity_header is not None:
            named = self._config.edge.identity_header
            headers = [pair for pair in headers if pair[0] != named]
        request = ReadRequest(
            facts, headers, _request_id(headers, decision_id), buffered_bytes=buffered, error=error
        )
        if error is None and route is not None and route.shape is not None:
            self._prepare(request, raw, body, route.shape)
        return request

    def release(self, request: ReadRequest) -> None:
        self.buffered_bytes -= request.buffered_bytes
        request.buffered_bytes = 0

    def _prepare(self, request: ReadRequest, raw: bytes, body: BodyFacts, shape: str) -> None:
        """What the application behind will get: usage asked for, no compression either way."""
        request.shape = shape
        if body.stream and not body.wants_usage:
            asked = ask_for_usage(raw, body)
            request.hides_usage = asked is not raw
            raw = asked
        request.body = raw
        kept = [
            pair
            for pair in request.headers
            if pair[0] not in REPLACED_HEADERS and pair[0] != b"accept-encoding"
        ]
        kept.append((b"content-length", b"%d" % len(raw)))
        kept.append((b"accept-encoding", b"identity"))
        request.headers = kept

    def _route(self, scope: Scope) -> Route | None:
        policy = self._engine.policies.current
        if policy is not self._routes_of:
            self._routes, self._routes_of = RouteTable(policy.routes), policy
        return self._routes.match(scope["method"], scope.get("raw_path") or b"", scope["path"])

    def _parse(self, raw: bytes, headers: Headers, shape: str) -> tuple[bytes, BodyFacts]:
        encoding = next((value for name, value in headers if name == b"content-encoding"), b"")
        if encoding:
            raw = decode_content(raw, encoding, limit_bytes=self._config.body_limit_bytes)
        return raw, read_body(raw, shape)

    async def _receive_body(self, scope: Scope, headers: Headers, receive: Receive) -> bytes:
        limit = self._config.body_limit_bytes
        client: ClientConnection | None = scope.get("extensions", {}).get(EXTENSION)
        body = None if client is None else client.take_body()
        if body is not None:
            if len(body) > limit:
                raise _too_large(limit)
            return body
        declared = next((value for name, value in headers if name == b"content-length"), b"0")
        expected = int(declared) if declared.isdigit() and len(declared) < 19 else 0
        if expected > limit:
            raise _too_large(limit)
        self._check_room(expected)
        try:
            async with asyncio.timeout(self._config.body_timeout_s):
                return await self._collect(receive, limit)
        except TimeoutError:
            raise RequestError(400, "body_too_slow", "The body did not arrive in time.") from None

    def _check_room(self, more_bytes: int) -> None:
        if self.buffered_bytes + more_bytes > self._config.buffered_limit_bytes:
            raise RequestError(429, "gateway_busy", "Too much is being received right now.")

    async def _collect(self, receive: Receive, limit: int) -> bytes:
        message = await receive()
        body: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body", False):
            if len(body) > limit:
                raise _too_large(limit)
            return body
        parts, size = [body], len(body)
        while message.get("more_body", False):
            message = await receive()
            part: bytes = message.get("body", b"")
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            self._check_room(size)
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        return b"".join(parts)


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "body_too_large", f"The body is larger than {limit} bytes.")


def _request_id(headers: Headers, decision_id: str) -> bytes:
    """The caller's own id where it is harmless, else one that finds the decision."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value
    return b"req_" + decision_id.encode()
