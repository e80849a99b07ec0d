"""Reading a data plane's question: whose request it is, and what of it may be believed.

Law: the caller never reaches us here, so what it could have sent is told apart from what the
data plane adds by name: `x-hydragate-*` is the data plane's, whose configuration overwrites
whatever a caller put there.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from ...errors import RequestError
from ...model import RequestFacts
from ..body import BodyFacts, ask_for_usage
from ..client import Headers
from ..facts import NO_BODY
from ..header_plan import RequestPlan
from ..reading import ReadRequest, RequestReader

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

PEER = b"x-hydragate-peer"  # the address that opened the connection to the data plane
JA4 = b"x-hydragate-ja4"
ORIGINAL_TARGET = b"x-hydragate-target"
ORIGINAL_METHOD = b"x-hydragate-method"
DECLARED_LENGTH = b"x-hydragate-length"
PARTIAL_BODY = b"x-envoy-auth-partial-body"
_ADDED_BY_ENVOY = (b"x-envoy-", b"x-hydragate-")
_ADDED_BY_BOTH = frozenset({b"x-forwarded-proto"})
_JA4 = re.compile(r"[a-z0-9]{10}_[0-9a-f]{12}_[0-9a-f]{12}")
_IS_PARTIAL = "hydragate.is_partial"


@dataclass(frozen=True, slots=True)
class Splice:
    """`text` instead of the bytes from `start` to `end` of a body."""

    start: int
    end: int
    text: bytes


@dataclass(slots=True)
class CheckedRequest(ReadRequest):
    """Its body goes on as it came, but for `splice`."""

    splice: Splice | None = None


class CheckReader(RequestReader):
    """Of Envoy's questions, which carry the body up to a byte over the bound."""

    def _prepared(
        self, facts: RequestFacts, request_id: bytes, raw: bytes, body: BodyFacts, shape: str
    ) -> ReadRequest:
        asked = ask_for_usage(raw, body) if body.stream and not body.wants_usage else raw
        splice = None if asked is raw else splice_between(raw, asked)
        return CheckedRequest(facts, request_id, shape, b"", splice is not None, splice=splice)

    async def _receive_body(self, scope: Scope, plan: RequestPlan, receive: Receive) -> bytes:
        raw = await super()._receive_body(scope, plan, receive)
        if scope.get(_IS_PARTIAL):
            limit = self._config.body_limit_bytes
            raise RequestError(413, "body_too_large", f"The body is larger than {limit} bytes.")
        return raw


class HeadReader(RequestReader):
    """Of nginx's questions, which carry no body: what is in one stays unknown."""

    def _prepared(
        self, facts: RequestFacts, request_id: bytes, raw: bytes, body: BodyFacts, shape: str
    ) -> ReadRequest:
        return CheckedRequest(facts, request_id, shape)

    async def _receive_body(self, scope: Scope, plan: RequestPlan, receive: Receive) -> bytes:
        return b""

    def _parse(
        self, raw: bytes, headers: Headers, plan: RequestPlan, shape: str
    ) -> tuple[bytes, BodyFacts]:
        return raw, NO_BODY


def original_scope(scope: Scope, *, raw_path: bytes, path: str, query: bytes, method: str) -> Scope:
    """The caller's request as a server would have had it from the caller's own connection."""
    headers, told = split_headers(scope["headers"])
    peer = told.get(PEER)
    return {
        **scope,
        "method": method,
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
        "client": None if not peer else (peer.decode("latin-1"), 0),
        _IS_PARTIAL: told.get(PARTIAL_BODY) == b"true",
    }


def split_headers(headers: Headers) -> tuple[Headers, dict[bytes, bytes]]:
    """(the caller's, the data plane's)."""
    callers: Headers = []
    told: dict[bytes, bytes] = {}
    for pair in headers:
        if pair[0].startswith(_ADDED_BY_ENVOY) or pair[0] in _ADDED_BY_BOTH:
            told[pair[0]] = pair[1]
        else:
            callers.append(pair)
    return callers, told


def ja4_of(headers: Headers) -> str | None:
    """As the data plane computed it from the caller's TLS hello; None without one."""
    for name, value in headers:
        if name == JA4:
            text = value.decode("latin-1").lower()
            return text if _JA4.fullmatch(text) else None
    return None


def splice_between(before: bytes, after: bytes) -> Splice:
    """The one place where they differ; `after` is the longer one or as long."""
    shorter = min(len(before), len(after))
    start = bisect_left(range(shorter + 1), True, key=lambda n: before[:n] != after[:n]) - 1
    most = shorter - start
    same = (
        bisect_left(
            range(most + 1),
            True,
            key=lambda n: before[len(before) - n :] != after[len(after) - n :],
        )
        - 1
    )
    return Splice(start, len(before) - same, after[start : len(after) - same])
