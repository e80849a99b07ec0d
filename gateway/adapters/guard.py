"""The guard: pure ASGI middleware that reads a request, has it decided, and refuses or serves.

`Guard(Forwarder(…))` is the reverse proxy; `app.add_middleware(Guard, engine=…)` puts the same
decisions into anyone's application. Every exchange ends in `Engine.finish`, whatever happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter_ns
from typing import Any

from ..engine import Engine
from ..errors import UpstreamError
from ..linking.traces import REFUSALS
from ..model import Decision, Outcome, Timings
from .answer import AnswerTap
from .evidence import Witness
from .forward import LeftEarlyError
from .http_server import EXTENSION, ClientConnection
from .reading import ClientLeftError, GuardConfig, ReadRequest, RequestReader
from .render import Answer, render_decision, render_error
from .usage import unanswered

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

GATEWAY_TIMEOUT_KINDS = frozenset({"connect_timeout", "write_timeout", "header_timeout"})
"""Upstream errors that are a 504; the others are a 502."""


class Guard:
    """See the module's docstring.

    `protect` are the path prefixes that are the guard's business: inside them routes that the
    policy does not list are refused, outside of them nothing is touched. They are looked for below
    the `root_path` of a mounted application. `inflight` counts the
    exchanges under way. `witness` sees each decided request, a turn of the loop later.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        engine: Engine,
        config: GuardConfig | None = None,
        surface: str = "middleware",
        protect: tuple[str, ...] = ("/v1/",),
        witness: Witness | None = None,
    ) -> None:
        self.app = app
        self.inflight = 0
        self._engine = engine
        self._config = config or GuardConfig()
        self._protect = protect
        self._witness = witness
        self._reader = RequestReader(engine, self._config, surface)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket") or not _routed(scope)["path"].startswith(
            self._protect
        ):
            await self.app(scope, receive, send)
        elif kind == "websocket":
            await refuse_websocket(receive, send)
        else:
            self.inflight += 1
            try:
                await self._guard(scope, receive, send)
            finally:
                self.inflight -= 1

    async def _guard(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_ns = perf_counter_ns()
        try:
            request = await self._reader.read(_routed(scope), receive)
        except ClientLeftError:
            return
        read_ns = perf_counter_ns()
        try:
            if request.error is not None:
                decision = self._engine.reject(request.facts, request.error)
            else:
                decision = await self._engine.decide(request.facts)
            decision_us = _elapsed_us(read_ns)
            members = request.take_members()
            if self._witness is not None and request.shape is not None:
                asyncio.get_running_loop().call_soon(
                    self._witness.see, request.facts, decision.subject, members, scope["headers"]
                )
                if not decision.is_served:
                    self._witness.see_refusal(request.facts, decision.subject, members)
            del members
            if decision.is_served:
                await self._serve(request, decision, scope, receive, send, started_ns, decision_us)
            else:
                await self._refuse(request, decision, scope, send, started_ns, decision_us)
        finally:
            self._reader.release(request)

    async def _refuse(
        self,
        request: ReadRequest,
        decision: Decision,
        scope: Scope,
        send: Send,
        started_ns: int,
        decision_us: int,
    ) -> None:
        await _send_answer(self._refusal(request, decision), scope, send)
        await self._engine.finish(
            request.facts,
            decision,
            outcome=Outcome.REFUSED,
            timings=Timings(decision_us, None, _elapsed_us(started_ns)),
        )

    async def _serve(
        self,
        request: ReadRequest,
        decision: Decision,
        scope: Scope,
        receive: Receive,
        send: Send,
        started_ns: int,
        decision_us: int,
    ) -> None:
        witness = self._witness
        tap = AnswerTap(
            send,
            request.facts,
            decision,
            shape=request.shape,
            hides_usage=request.hides_usage,
            request_id=request.request_id,
            room=None if witness is None else witness.room_for(request.facts, decision.subject),
        )
        outcome, unanswered_usage = Outcome.CLIENT_LEFT, None
        try:
            await self.app(
                _inner_scope(scope, request, decision), _Replay(request.body, receive), tap.send
            )
            if tap.is_complete:
                outcome = Outcome.COMPLETE
        except UpstreamError as error:
            outcome = Outcome.UPSTREAM_FAILED
            await self._upstream_failed(request, decision, error, tap, scope, send)
        except asyncio.CancelledError as error:
            if tap.status is None and not isinstance(error, LeftEarlyError):
                unanswered_usage = unanswered(request.facts)
            client = _client(scope)
            task = asyncio.current_task()
            if client is None or not client.is_lost() or task is None:
                raise
            task.uncancel()
        finally:
            if witness is not None:
                self._show_answer(witness, request, decision, tap)
            upstream_us = (tap.started_ns - started_ns) // 1000 if tap.started_ns else None
            await self._engine.finish(
                request.facts,
                decision,
                outcome=outcome,
                usage=unanswered_usage or tap.usage(),
                upstream_status=tap.status,
                timings=Timings(decision_us, upstream_us, _elapsed_us(started_ns)),
            )

    @staticmethod
    def _show_answer(
        witness: Witness, request: ReadRequest, decision: Decision, tap: AnswerTap
    ) -> None:
        """In a later turn of the loop, when the caller has everything."""
        later = asyncio.get_running_loop().call_soon
        raw, is_stream = tap.take_copy()
        if raw and tap.is_complete:
            look = witness.see_stream if is_stream else witness.see_answer
            later(look, request.facts, decision.subject, raw)
        elif tap.status in REFUSALS and request.shape is not None:
            later(witness.see_failure, request.facts, decision.subject, request.body)

    async def _upstream_failed(
        self,
        request: ReadRequest,
        decision: Decision,
        error: UpstreamError,
        tap: AnswerTap,
        scope: Scope,
        send: Send,
    ) -> None:
        """502 or 504 while nothing was sent; afterwards the answer is visibly cut short."""
        if tap.status is not None:
            client = _client(scope)
            if client is None:
                raise error
            client.abort()
            return
        is_late = error.kind in GATEWAY_TIMEOUT_KINDS
        answer = render_error(
            504 if is_late else 502,
            "upstream_timeout" if is_late else "upstream_unavailable",
            "The model API did not answer in time." if is_late else "The model API failed.",
            request.facts.dialect,
            request_id=request.request_id.decode("latin-1"),
            decision_id=decision.decision_id,
        )
        await _send_answer(answer, scope, send)

    def _refusal(self, request: ReadRequest, decision: Decision) -> Answer:
        policy = self._engine.policies.current
        link = self._config.verification_url
        return render_decision(
            decision,
            request.facts,
            request_id=request.request_id.decode("latin-1"),
            appeal=policy.appeal,
            verification_url=link(decision) if link is not None else None,
        )


class _Replay:
    """An ASGI `receive` that hands out the body that was read, then the connection's own."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body = self._body
        if body is None:
            return await self._receive()
        self._body = None
        return {"type": "http.request", "body": body, "more_body": False}


def _routed(scope: Scope) -> Scope:
    """`scope` with the path as the application routes it: below its `root_path`, where the
    request names that (ASGI lets servers and mounts do so; Starlette's `get_route_path`).

    Otherwise whoever writes the prefix out would reach the same endpoint past the guard.
    """
    root = scope.get("root_path")
    if not root or not scope["path"].startswith(f"{root}/"):
        return scope
    raw, prefix = scope.get("raw_path") or b"", root.encode()
    below = raw[len(prefix) :] if raw.startswith(prefix + b"/") else raw  # unlisted as it stands
    return {**scope, "path": scope["path"][len(root) :], "raw_path": below}


def _inner_scope(scope: Scope, request: ReadRequest, decision: Decision) -> Scope:
    state = dict(scope.get("state") or {})
    state["decision"] = decision
    state["facts"] = request.facts
    return {**scope, "headers": request.headers, "state": state}


def _client(scope: Scope) -> ClientConnection | None:
    client: ClientConnection | None = scope.get("extensions", {}).get(EXTENSION)
    return client


def _elapsed_us(started_ns: int) -> int:
    return (perf_counter_ns() - started_ns) // 1000


async def _send_answer(answer: Answer, scope: Scope, send: Send) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    body = b"" if scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def refuse_websocket(receive: Receive, send: Send) -> None:
    """Closed until each message can be decided; before it is accepted this is a 403."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})
