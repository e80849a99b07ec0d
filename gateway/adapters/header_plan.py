"""What follows from the names in a head alone, worked out once for each list of names.

A client sends the same names in the same order with every request, so which fields are single,
which are forwarded and where the credential stands need not be found out again; only values
differ. Lists of names that callers make up cost them their place in a bounded cache, no more.

Source: RFC 9110 §7.6 (message forwarding), §10.1.1 (Expect); RFC 9112 §9.6 (Connection).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from .client import Headers

P = TypeVar("P")

CREDENTIAL_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})
SINGLE = CREDENTIAL_HEADERS | {
    b"host",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"expect",
    b"transfer-encoding",
}
MAX_PLANS = 2_048
MAX_PLANNED_NAMES = 64  # longer heads are planned each time
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_CLIENT_CLAIMS = frozenset(
    {
        b"cf-connecting-ip",
        b"client-ip",
        b"fastly-client-ip",
        b"forwarded",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-original-forwarded-for",
        b"x-real-ip",
    }
)
# What would make the upstream read another request than the one that was decided on.
_OVERRIDES = frozenset(
    {
        b"ocp-apim-subscription-key",  # another key than the caller's
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-url",
        b"x-rewrite-url",
    }
)
# Who is charged besides, where the key is the operator's.
_OF_THE_KEY = frozenset({b"cookie", b"openai-organization", b"openai-project"})
_NOT_FORWARDED = _HOP_BY_HOP | _CLIENT_CLAIMS | _OVERRIDES | {b"host", b"content-length", b"expect"}
_NOT_FORWARDED_PREFIXES = (b"proxy-", b"x-forwarded-", b"x-hydragate-")
_NOT_RETURNED = _HOP_BY_HOP | {b"alt-svc"}  # it would lead callers around the gateway
_NOT_RETURNED_PREFIXES = (b"proxy-", b"x-hydragate-")
_BODY_HEADERS = frozenset(
    {
        b"accept-encoding",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
    }
)
JSON_TYPE = (b"content-type", b"application/json")
"""Of a body that was read as strict JSON, whatever its sender called it: what honours another
charset, or reads a form, would find another request in it than the one that was decided."""

Names = tuple[bytes, ...]


class RequestPlan:
    """Of a request's head; positions are indices into its headers.

    `last` has each name's last position. `forwarded` are the fields for an upstream,
    `forwarded_keyless` those beside an operator's key, without the caller's credentials,
    `beside_body` all but what describes the body and its encoding.
    """

    __slots__ = (
        "beside_body",
        "connections",
        "credentials",
        "duplicate",
        "forwarded",
        "forwarded_keyless",
        "last",
        "names",
    )

    def __init__(self, names: Names) -> None:
        self.names = names
        self.last = {name: position for position, name in enumerate(names)}
        self.duplicate = _duplicate_in(names) if len(self.last) < len(names) else None
        self.connections = _positions(names, frozenset({b"connection"}))
        self.credentials = _positions(names, CREDENTIAL_HEADERS)
        kept = _kept(names, _NOT_FORWARDED, _NOT_FORWARDED_PREFIXES)
        # Servers that hand headers on as variables take `x_api_key` for `x-api-key`.
        self.forwarded = tuple(i for i in kept if b"_" not in names[i])
        self.forwarded_keyless = tuple(
            i for i in self.forwarded if i not in self.credentials and names[i] not in _OF_THE_KEY
        )
        self.beside_body = _kept(names, _BODY_HEADERS, ())

    def value(self, headers: Headers, name: bytes) -> bytes | None:
        """The last value of a field, None where it is absent."""
        position = self.last.get(name)
        return None if position is None else headers[position][1]

    def values(self, headers: Headers, name: bytes) -> list[bytes]:
        """All of a field, in their order."""
        last = self.last.get(name)
        if last is None:
            return []
        if self.names.index(name) == last:
            return [headers[last][1]]
        return [value for found, value in headers if found == name]


class ResponsePlan:
    """Of an answer's head: the positions to hand on, and those of Connection."""

    __slots__ = ("connections", "returned")

    def __init__(self, names: Names) -> None:
        self.connections = _positions(names, frozenset({b"connection"}))
        self.returned = _kept(names, _NOT_RETURNED, _NOT_RETURNED_PREFIXES)


class Plans(Generic[P]):
    """Plans by list of names: a caller sends the same ones each time. Longer lists than
    `MAX_PLANNED_NAMES` are planned anew, and of `MAX_PLANS` kept ones all go."""

    __slots__ = ("_kept", "_plan")

    def __init__(self, plan: Callable[[Names], P]) -> None:
        self._plan = plan
        self._kept: dict[Names, P] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, headers: Headers) -> P:
        """`headers` have lower-case names."""
        names = tuple([name for name, _ in headers])
        plan = self._kept.get(names)
        if plan is None:
            plan = self._plan(names)
            if len(names) <= MAX_PLANNED_NAMES:
                if len(self._kept) >= MAX_PLANS:
                    self._kept.clear()
                self._kept[names] = plan
        return plan


request_plan = Plans(RequestPlan).of
response_plan = Plans(ResponsePlan).of


def _duplicate_in(names: Names) -> bytes | None:
    """The first field that may come only once and comes again."""
    singles = [name for name in names if name in SINGLE]
    return next((name for name in singles if singles.count(name) > 1), None)


def _positions(names: Names, wanted: frozenset[bytes]) -> tuple[int, ...]:
    return tuple(i for i, name in enumerate(names) if name in wanted)


def _kept(names: Names, dropped: frozenset[bytes], prefixes: tuple[bytes, ...]) -> tuple[int, ...]:
    return tuple(
        i
        for i, name in enumerate(names)
        if name not in dropped and not (prefixes and name.startswith(prefixes))
    )
