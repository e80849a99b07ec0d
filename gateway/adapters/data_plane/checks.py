"""The check port: Envoy's ext_authz and nginx's auth_request ask here before they forward.

    Envoy   METHOD /.hydragate/ext_authz<target>    the caller's request, body and all
    nginx   GET    /.hydragate/auth_request         target and method in x-hydragate-*
    nginx   any    /.hydragate/refusal              the answer that a refusal had carried

nginx with its Lua module asks as Envoy does.

A pass is a 200 whose headers say what to change on the way to the model API and what to tell the
caller; a refusal is the caller's own answer. Nobody but data planes may reach this port.
Source: Envoy 1.40, api/envoy/extensions/filters/http/ext_authz/v3; nginx, ngx_http_auth_request.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from functools import lru_cache
from time import perf_counter_ns
from urllib.parse import unquote

import msgspec

from ...engine import Engine
from ...model import Decision, Outcome, Timings, with_changes
from ..client import Headers
from ..evidence import Witness
from ..forward import NoUpstreamError, Target
from ..guard import Message, Receive, Scope, Send
from ..header_plan import JSON_TYPE, MAX_PLANNED_NAMES, MAX_PLANS
from ..headers import request_headers
from ..reading import ClientLeftError, GuardConfig, ReadRequest
from ..render import Answer, limit_headers, render_decision, render_error
from .pending import Pending, PendingExchanges
from .reading import (
    DECLARED_LENGTH,
    ORIGINAL_METHOD,
    ORIGINAL_TARGET,
    CheckedRequest,
    CheckReader,
    HeadReader,
    head_plan,
    ja4_of,
    original_scope,
)

CHECK_PREFIX = "/.hydragate/ext_authz"
AUTH_REQUEST_PATH = "/.hydragate/auth_request"
REFUSAL_PATH = "/.hydragate/refusal"
TICKET = b"x-hydragate-ticket"
UPSTREAM = b"x-hydragate-upstream"
ANSWER = b"x-hydragate-answer"
TOLD = b"x-hydragate-tell"
TOLD_PREFIX = TOLD + b"-"
MAX_SEALED_BYTES = 16_384
NO_UPSTREAM = "none"
_OURS_TO_LEAVE = frozenset(
    {
        *(b"host", b"content-length", b"expect", b"connection", b"keep-alive", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"),
    }
)


class _Sealed(msgspec.Struct, array_like=True):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


_seal = msgspec.msgpack.Encoder().encode
_unseal = msgspec.msgpack.Decoder(_Sealed).decode


class Checks:
    """The check port's ASGI application. `index` is this worker's, for its tickets."""

    def __init__(
        self,
        *,
        engine: Engine,
        config: GuardConfig,
        targets: Sequence[Target],
        pending: PendingExchanges,
        index: int,
        witness: Witness | None = None,
    ) -> None:
        self._engine = engine
        self._config = config
        self._targets = targets
        self._pending = pending
        self._index = index
        self._witness = witness
        self._envoy = CheckReader(engine, config, "ext_authz")
        self._nginx = HeadReader(engine, config, "auth_request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if scope["type"] != "http":
            return
        if path.startswith(CHECK_PREFIX):
            await self._ask(self._envoy, _of_envoy(scope), scope, receive, send)
        elif path == AUTH_REQUEST_PATH:
            await self._ask(self._nginx, _of_nginx(scope), scope, receive, send)
        elif path == REFUSAL_PATH:
            await _send(send, _opened(scope["headers"]), method=scope["method"])
        else:
            await _send(send, _not_ours())

    async def _ask(
        self,
        reader: CheckReader | HeadReader,
        caller: Scope,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        started_ns = perf_counter_ns()
        try:
            request = await reader.read(caller, receive)
        except ClientLeftError:
            return
        try:
            is_nginx = reader is self._nginx
            self._add_seen(request, caller, scope, is_nginx)
            decision, decision_us = await self._decide(request, caller)
            if decision.is_served:
                answer = await self._pass(request, decision, decision_us)
                told = self._told(request, decision)
                if is_nginx:  # it cannot choose the way up, nor take headers out by a list
                    answer.headers.extend(_apart(told))
                else:
                    answer.headers.extend(self._way_up(caller, request.facts.model))
                    answer.headers.extend(_together(told))
            else:
                answer = self._refusal(request, decision)
                await self._engine.finish(
                    request.facts,
                    decision,
                    outcome=Outcome.REFUSED,
                    timings=Timings(decision_us, None, (perf_counter_ns() - started_ns) // 1000),
                )
                if is_nginx:
                    answer = _sealed(answer)
            await _send(send, answer)
        finally:
            reader.release(request)

    def _add_seen(self, request: ReadRequest, caller: Scope, scope: Scope, is_nginx: bool) -> None:
        facts = request.facts
        ja4 = ja4_of(caller)
        if ja4 is not None:
            facts = with_changes(facts, ja4=ja4)
        if is_nginx and request.shape is not None:
            headers: Headers = scope["headers"]
            declared = head_plan(headers).told_in(headers, DECLARED_LENGTH) or b""
            size = int(declared) if declared.isdigit() and len(declared) < 16 else 0
            tokens = self._engine.estimator.estimate(None, size, None)
            facts = with_changes(
                facts,
                body_bytes=size,
                estimated_input_tokens=tokens[0],
                estimated_output_tokens=tokens[1],
            )
        request.facts = facts

    async def _decide(self, request: ReadRequest, caller: Scope) -> tuple[Decision, int]:
        began_ns = perf_counter_ns()
        if request.error is not None:
            decision = self._engine.reject(request.facts, request.error)
        else:
            decision = await self._engine.decide(request.facts)
        decision_us = (perf_counter_ns() - began_ns) // 1000
        members = request.take_members()
        if self._witness is not None and request.shape is not None and members:
            asyncio.get_running_loop().call_soon(
                self._witness.see, request.facts, decision.subject, members, caller["headers"]
            )
        return decision, decision_us

    async def _pass(self, request: ReadRequest, decision: Decision, decision_us: int) -> Answer:
        facts = request.facts
        await self._pending.add(Pending(facts, decision, request.shape, decision_us))
        ticket = b"%d-%b" % (self._index, decision.decision_id.encode())
        headers: Headers = [(TICKET, ticket), (b"content-length", b"0")]
        if request.shape is not None:
            headers.append((b"x-hydragate-shape", request.shape.encode()))
            headers.append(JSON_TYPE)
        if isinstance(request, CheckedRequest) and request.splice is not None:
            splice = request.splice
            place = b"%d:%d:" % (splice.start, splice.end)
            headers.append((b"x-hydragate-splice", place + splice.text))
        return Answer(200, headers, b"")

    def _told(self, request: ReadRequest, decision: Decision) -> Headers:
        """What the caller is to be told with the model API's answer."""
        told = limit_headers(decision, request.facts.dialect)
        return [(b"x-request-id", request.request_id), *told]

    def _way_up(self, caller: Scope, model: str | None) -> Headers:
        """Which upstream, with which credential, and what of the head is not for it."""
        try:
            target = _pick(self._targets, caller["path"], model)
        except NoUpstreamError:
            return [(UPSTREAM, NO_UPSTREAM.encode())]
        gone = self._gone(caller["headers"], target)
        added: Headers = [(UPSTREAM, target.name.encode()), (b"accept-encoding", b"identity")]
        if target.credential is not None:
            added.append(target.credential)
            added.append((b"x-hydragate-own-key", b"1"))
        if gone:
            added.append((b"x-envoy-auth-headers-to-remove", gone))
        return added

    def _gone(self, theirs: Headers, target: Target) -> bytes:
        """What of the caller's head the data plane is to take out before it goes on, by name."""
        identity = self._config.edge.identity_header
        names = tuple([name for name, _ in theirs])
        if len(names) <= MAX_PLANNED_NAMES and b"connection" not in names:
            own_key = None if target.credential is None else target.credential[0]
            return _gone_by_name(names, own_key, identity)
        return _gone_of(theirs, target.credential, identity)

    def _refusal(self, request: ReadRequest, decision: Decision) -> Answer:
        link = self._config.verification_url
        return render_decision(
            decision,
            request.facts,
            request_id=request.request_id.decode("latin-1"),
            appeal=self._engine.policies.current.appeal,
            verification_url=link(decision) if link is not None else None,
        )


def _of_envoy(scope: Scope) -> Scope:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return original_scope(
        scope,
        raw_path=raw[len(CHECK_PREFIX) :],
        path=scope["path"][len(CHECK_PREFIX) :],
        query=scope["query_string"],
        method=scope["method"],
    )


def _of_nginx(scope: Scope) -> Scope:
    headers: Headers = scope["headers"]
    plan = head_plan(headers)
    target = plan.told_in(headers, ORIGINAL_TARGET) or b""
    method = plan.told_in(headers, ORIGINAL_METHOD) or b"GET"
    raw, _, query = target.partition(b"?")
    return original_scope(
        scope,
        raw_path=raw,
        path=unquote(raw.decode("latin-1")),
        query=query,
        method=method.decode("latin-1"),
    )


@lru_cache(maxsize=MAX_PLANS)
def _gone_by_name(
    names: tuple[bytes, ...], own_key_header: bytes | None, identity: bytes | None
) -> bytes:
    """Where no Connection field names others, which fields go follows from the names alone. With
    `own_key_header` the operator's key goes instead of the caller's, under that name."""
    credential = None if own_key_header is None else (own_key_header, b"")
    return _gone_of([(name, b"") for name in names], credential, identity)


def _gone_of(
    theirs: Headers, credential: tuple[bytes, bytes] | None, identity: bytes | None
) -> bytes:
    drops = () if identity is None else (identity,)
    sent = {name for name, _ in request_headers(theirs, credential=credential, drops=drops)}
    gone = {name for name, _ in theirs} - sent - _OURS_TO_LEAVE
    return b",".join(sorted(gone))


def _pick(targets: Sequence[Target], path: str, model: str | None) -> Target:
    """A data plane that shows no body cannot choose by model: the first by path is taken."""
    for target in targets:
        if target.serves(path, model):
            return target
    raise NoUpstreamError


def _apart(told: Headers) -> Headers:
    """For nginx's `auth_request_set`, which takes a header at a time and none by its beginning."""
    return [(TOLD_PREFIX + name, value) for name, value in told]


def _together(told: Headers) -> Headers:
    """For Lua: one header instead of ten that Envoy would have to copy twice each."""
    return [(TOLD, b"\t".join(b"%b=%b" % pair for pair in told))]


def _sealed(answer: Answer) -> Answer:
    """nginx knows 401 and 403 only, and drops the body: the answer travels in a header, and
    nginx hands it back on the way to the caller."""
    sealed = _seal(_Sealed(answer.status, answer.headers, answer.body))
    value = base64.b64encode(sealed)
    status = 401 if answer.status == 401 else 403
    return Answer(status, [(ANSWER, value), (b"content-length", b"0")], b"")


def _opened(headers: Headers) -> Answer:
    value = dict(headers).get(ANSWER, b"")
    try:
        if len(value) > MAX_SEALED_BYTES:
            return _not_ours()
        sealed = _unseal(base64.b64decode(value, validate=True))
    except (binascii.Error, msgspec.MsgspecError):
        return _not_ours()
    return Answer(sealed.status, sealed.headers, sealed.body)


def _not_ours() -> Answer:
    return render_error(
        404, "not_found", "This port answers data planes only.", "problem", request_id="none"
    )


async def _send(send: Send, answer: Answer, *, method: str = "GET") -> None:
    start: Message = {"type": "http.response.start", "status": answer.status}
    await send({**start, "headers": answer.headers})
    body = b"" if method == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": False})
