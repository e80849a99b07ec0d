"""Reading a data plane's question: whose request it is, and what of it may be believed.

Law: the caller never reaches us here, so what it could have sent is told apart from what the
data plane adds by name: `x-hydragate-*` is the data plane's, whose configuration overwrites
whatever a caller put there.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from ...errors import RequestError
from ...model import RequestFacts
from ..body import BodyFacts, ask_for_usage
from ..client import Headers
from ..facts import NO_BODY
from ..header_plan import Plans, RequestPlan
from ..reading import ReadRequest, RequestReader

Scope = MutableMapping[str, Any]

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
_JA4_TOLD = "hydragate.ja4"
_LENGTH_TOLD = "hydragate.length"


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

    def _decoded(self, raw: bytes, scope: Scope, plan: RequestPlan) -> bytes:
        if scope.get(_IS_PARTIAL):
            limit = self._config.body_limit_bytes
            raise RequestError(413, "body_too_large", f"The body is larger than {limit} bytes.")
        return super()._decoded(raw, scope, plan)


class HeadReader(RequestReader):
    """Of nginx's questions, which carry no body: what is in one stays unknown.

    Law: tokens are estimated from the length that is told, and never corrected, so a body without
    one, or whose length says little because it is compressed, is refused.
    """

    def _prepared(
        self, facts: RequestFacts, request_id: bytes, raw: bytes, body: BodyFacts, shape: str
    ) -> ReadRequest:
        return CheckedRequest(facts, request_id, shape)

    def _arrived(self, scope: Scope) -> bytes:
        if not scope.get(_LENGTH_TOLD):
            raise RequestError(400, "length_required", "Send the body with a Content-Length.")
        return b""

    def _decoded(self, raw: bytes, scope: Scope, plan: RequestPlan) -> bytes:
        encoding = plan.value(scope["headers"], b"content-encoding") or b""
        if encoding.strip().lower() not in (b"", b"identity"):
            message = "Send the body as it is: no Content-Encoding is read here."
            raise RequestError(400, "unsupported_encoding", message)
        return raw

    def _parse(self, raw: bytes, shape: str) -> BodyFacts:
        return NO_BODY


class HeadPlan:
    """Of a question's head, from its names alone: the positions of the caller's fields, and by
    name those of what the data plane tells."""

    __slots__ = ("callers", "told")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.told = {name: position for position, name in enumerate(names) if _is_data_planes(name)}
        self.callers = [
            position for position, name in enumerate(names) if not _is_data_planes(name)
        ]

    def told_in(self, headers: Headers, name: bytes) -> bytes | None:
        """What the data plane tells under this name; None where it does not."""
        position = self.told.get(name)
        return None if position is None else headers[position][1]


head_plan = Plans(HeadPlan).of
"""Of a data plane, which adds the same names each time."""


def original_scope(scope: Scope, *, raw_path: bytes, path: str, query: bytes, method: str) -> Scope:
    """The caller's request as a server would have had it from the caller's own connection."""
    headers: Headers = scope["headers"]
    plan = head_plan(headers)
    peer = plan.told_in(headers, PEER)
    return {
        **scope,
        "method": method,
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": [headers[position] for position in plan.callers],
        "client": None if not peer else (peer.decode("latin-1"), 0),
        _IS_PARTIAL: plan.told_in(headers, PARTIAL_BODY) == b"true",
        _JA4_TOLD: plan.told_in(headers, JA4),
        _LENGTH_TOLD: plan.told_in(headers, DECLARED_LENGTH),
    }


def _is_data_planes(name: bytes) -> bool:
    return name.startswith(_ADDED_BY_ENVOY) or name in _ADDED_BY_BOTH


def ja4_of(scope: Scope) -> str | None:
    """As the data plane computed it from the caller's TLS hello; None without one."""
    value = scope.get(_JA4_TOLD)
    if not value:
        return None
    text: str = value.decode("latin-1").lower()
    return text if _JA4.fullmatch(text) else None


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
