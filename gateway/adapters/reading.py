"""Reading a request from ASGI: head, credential, client address, and a bounded body.

Nothing here decides. What cannot be read safely ends up in `ReadRequest.error`, and its facts
still say enough to explain the refusal.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from ..engine import Engine
from ..errors import RequestError
from ..model import Decision, RequestFacts, Route
from .body import BodyFacts, ask_for_usage, decode_content, read_body
from .facts import NO_BODY, NO_ORIGIN, Headers, build_facts, software_of
from .header_plan import JSON_TYPE, RequestPlan, request_plan
from .headers import (
    TrustedEdge,
    check_headers,
    credential_of,
)
from .http_server import EXTENSION, ClientConnection
from .origins import Origins
from .query import check_query
from .routes import RouteTable, dialect_of

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MIB = 1024 * 1024
NO_EDGE = TrustedEdge()
Members = Mapping[str, bytes | memoryview]
NO_MEMBERS: Members = {}
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
    verification_url: Callable[[Decision], str | None] | None = None


@dataclass(slots=True)
class ReadRequest:
    """One request as far as it has been read; `error` says why no further."""

    facts: RequestFacts
    request_id: bytes
    shape: str | None = None
    body: bytes = b""
    hides_usage: bool = False
    error: RequestError | None = None
    headers: Headers = field(default_factory=list)
    buffered_bytes: int = 0
    members: Members | None = None  # of the body as it came, until somebody takes them

    def take_members(self) -> Members:
        """Once: they hold on to the whole body."""
        taken, self.members = self.members, None
        return NO_MEMBERS if taken is None else taken


class _Seen:
    """What of a request has been read so far. `shape` is None until its body is."""

    __slots__ = ("body", "buffered_bytes", "credential", "error", "origin", "raw", "shape")

    def __init__(self) -> None:
        self.origin = NO_ORIGIN
        self.credential: str | None = None
        self.raw = b""
        self.buffered_bytes = 0
        self.body = NO_BODY
        self.shape: str | None = None
        self.error: RequestError | None = None


class RequestReader:
    """Reads requests for one guard and keeps the sum of what is buffered under a bound."""

    def __init__(self, engine: Engine, config: GuardConfig, surface: str) -> None:
        self.buffered_bytes = 0
        self._engine = engine
        self._config = config
        self._surface = surface
        self._origins = Origins(config.edge, engine.keyed, engine.geo)
        self._routes = RouteTable(())
        self._routes_of: object = None

    async def read(self, scope: Scope, receive: Receive) -> ReadRequest:
        """Raises ClientLeftError only. What was buffered counts until `release`."""
        route, seen = self._route(scope), _Seen()
        plan = request_plan(scope["headers"])
        received_us = self._engine.clock.now_us()
        decision_id = self._engine.ids.new_id(received_us)
        try:
            try:
                await self._look(scope, plan, route, receive, seen, received_us)
            except RequestError as found:
                # What led to it holds this frame, and the frame holds it: a cycle a bad request.
                seen.error = found.with_traceback(None)
                seen.error.__context__ = None
            facts = self._facts(scope, plan, route, seen, decision_id, received_us)
            return self._request(scope, plan, facts, seen)
        except BaseException:
            self.buffered_bytes -= seen.buffered_bytes
            raise

    async def _look(
        self,
        scope: Scope,
        plan: RequestPlan,
        route: Route | None,
        receive: Receive,
        seen: _Seen,
        now_us: int,
    ) -> None:
        """Fill in what can be read, in this order. Raises RequestError where it cannot go on."""
        headers: Headers = scope["headers"]
        check_headers(headers, plan)
        if scope["query_string"]:
            check_query(scope["query_string"])
        client, edge = scope.get("client"), self._config.edge
        seen.origin = self._origins.of(client, headers, plan)
        seen.credential = credential_of(headers, client, edge, self._engine.keyed, plan)
        # Without a key it is refused whatever is in the body, which is not worth reading then.
        if seen.credential is None or route is None or route.shape is None:
            return
        raw = self._arrived(scope)
        if raw is None:  # what has still to come takes time and room, and anybody can make up a key
            await self._engine.demand_known(seen.credential, now_us)
            raw = await self._receive_body(scope, plan, receive)
        seen.raw = raw
        seen.buffered_bytes = len(seen.raw)
        seen.raw = self._decoded(seen.raw, scope, plan)
        self._reserve(len(seen.raw) - seen.buffered_bytes)  # what came compressed: its true size
        seen.buffered_bytes = len(seen.raw)
        seen.body = self._parse(seen.raw, route.shape)
        seen.shape = route.shape

    def _facts(
        self,
        scope: Scope,
        plan: RequestPlan,
        route: Route | None,
        seen: _Seen,
        decision_id: str,
        received_us: int,
    ) -> RequestFacts:
        engine, body, task = self._engine, seen.body, None
        if body is not NO_BODY:
            task = engine.read_task(body.item or body, seen.credential)
        return build_facts(
            decision_id=decision_id,
            received_us=received_us,
            surface=self._surface,
            method=scope["method"],
            path=scope["path"],
            route=route,
            dialect=route.dialect if route is not None else dialect_of(scope["path"]),
            software=software_of(scope["headers"], plan),
            credential=seen.credential,
            origin=seen.origin,
            body=body,
            body_bytes=len(seen.raw),
            task=task,
            keyed=engine.keyed,
            estimator=engine.estimator,
        )

    def _request(
        self, scope: Scope, plan: RequestPlan, facts: RequestFacts, seen: _Seen
    ) -> ReadRequest:
        headers: Headers = scope["headers"]
        request_id = _request_id(headers, plan, facts.decision_id)
        if seen.error is None and seen.shape is not None:
            request = self._prepared(facts, request_id, seen.raw, seen.body, seen.shape)
            headers = _with_body(headers, plan, request.body)
        else:
            request = ReadRequest(facts, request_id, error=seen.error)
        identity = self._config.edge.identity_header
        if identity is not None:
            headers = [pair for pair in headers if pair[0] != identity]
        request.headers, request.buffered_bytes = headers, seen.buffered_bytes
        request.members = seen.body.members
        return request

    def release(self, request: ReadRequest) -> None:
        self.buffered_bytes -= request.buffered_bytes
        request.buffered_bytes = 0

    def _prepared(
        self, facts: RequestFacts, request_id: bytes, raw: bytes, body: BodyFacts, shape: str
    ) -> ReadRequest:
        """With the body that the application behind will get: usage is asked for."""
        hides_usage = False
        if body.stream and not body.wants_usage:
            asked = ask_for_usage(raw, body)
            hides_usage = asked is not raw
            raw = asked
        return ReadRequest(facts, request_id, shape, raw, hides_usage)

    def _route(self, scope: Scope) -> Route | None:
        policy = self._engine.policies.current
        if policy is not self._routes_of:
            self._routes, self._routes_of = RouteTable(policy.routes), policy
        return self._routes.match(scope["method"], scope.get("raw_path") or b"", scope["path"])

    def _decoded(self, raw: bytes, scope: Scope, plan: RequestPlan) -> bytes:
        encoding = plan.value(scope["headers"], b"content-encoding")
        if not encoding:
            return raw
        return decode_content(raw, encoding, limit_bytes=self._config.body_limit_bytes)

    def _parse(self, raw: bytes, shape: str) -> BodyFacts:
        return read_body(raw, shape)

    def _arrived(self, scope: Scope) -> bytes | None:
        """The body that is here already, reserved; None where not all of it is."""
        client: ClientConnection | None = scope.get("extensions", {}).get(EXTENSION)
        body = None if client is None else client.take_body()
        if body is not None:
            if len(body) > self._config.body_limit_bytes:
                raise _too_large(self._config.body_limit_bytes)
            self._reserve(len(body))
        return body

    async def _receive_body(self, scope: Scope, plan: RequestPlan, receive: Receive) -> bytes:
        """The body as it comes, reserved in `buffered_bytes`; nothing is where this raises."""
        limit = self._config.body_limit_bytes
        declared = plan.value(scope["headers"], b"content-length") or b"0"
        expected = int(declared) if declared.isdigit() and len(declared) < 19 else 0
        if expected > limit:
            raise _too_large(limit)
        # Looked at, not reserved: saying a large number must not take room from those who send.
        self._check_room(expected)
        try:
            async with asyncio.timeout(self._config.body_timeout_s):
                return await self._collect(receive, limit)
        except TimeoutError:
            raise RequestError(400, "body_too_slow", "The body did not arrive in time.") from None

    def _reserve(self, more_bytes: int) -> None:
        """Fewer than 0 are given back."""
        if more_bytes > 0:
            self._check_room(more_bytes)
        self.buffered_bytes += more_bytes

    def _check_room(self, more_bytes: int) -> None:
        if self.buffered_bytes + more_bytes > self._config.buffered_limit_bytes:
            raise RequestError(429, "gateway_busy", "Too much is being received right now.")

    async def _collect(self, receive: Receive, limit: int) -> bytes:
        """Every part is reserved as it comes, and given back where no whole body comes of it."""
        # One growing buffer: of a body in parts of a byte, a list would hold fifty times as much.
        body = bytearray()
        try:
            more_body = True
            while more_body:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeftError
                part: bytes = message.get("body", b"")
                more_body = message.get("more_body", False)
                if len(body) + len(part) > limit:
                    raise _too_large(limit)
                self._reserve(len(part))
                body += part
            return bytes(body)
        except BaseException:
            self.buffered_bytes -= len(body)
            raise


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "body_too_large", f"The body is larger than {limit} bytes.")


def _with_body(headers: Headers, plan: RequestPlan, body: bytes) -> Headers:
    """The headers beside a body that is plain, whole and JSON now, asking for a plain answer."""
    kept = [headers[position] for position in plan.beside_body]
    kept.append(JSON_TYPE)
    kept.append((b"content-length", b"%d" % len(body)))
    kept.append((b"accept-encoding", b"identity"))
    return kept


def _request_id(headers: Headers, plan: RequestPlan, decision_id: str) -> bytes:
    """The caller's own id where it is harmless, else one that finds the decision."""
    value = plan.value(headers, b"x-request-id")
    if value is not None and _REQUEST_ID.fullmatch(value):
        return value
    return b"req_" + decision_id.encode()
