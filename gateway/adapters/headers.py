"""Header fields on their way through a proxy: what is refused, stripped, added and read.

Names are lower case, as ASGI hands them over. Source: RFC 9110 §7.6 (message forwarding),
§10.1.1 (Expect); RFC 9112 §9.6 (Connection).
"""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from functools import lru_cache

from ..core.keyed import KeyedHash
from ..errors import RequestError
from .client import Client, Headers, TrustedEdge, client_address, values_of, vouches_for
from .header_plan import (
    CREDENTIAL_HEADERS,
    SINGLE,
    RequestPlan,
    request_plan,
    response_plan,
)

__all__ = [
    "TrustedEdge",
    "check_headers",
    "client_address",
    "credential_of",
    "identity_credential",
    "request_headers",
    "request_plan",
    "response_headers",
    "sdk_of",
]

MAX_IDENTITY_CHARS = 256
MAX_SDK_WORD_BYTES = 32
MAX_PRODUCT_BYTES = 64
_VIA_FIELD = (b"via", b"1.1 hydragate")
_USUAL_CONNECTION = frozenset({b"keep-alive", b"close"})
_KEY = re.compile(rb"[!-~]{1,4096}")
_PRODUCT = re.compile(rb"(?:Async)?(?:Azure)?([A-Za-z0-9]{1,24})/")
_SDK_WORD = re.compile(rb"[A-Za-z0-9._+-]+")


def check_headers(headers: Headers, plan: RequestPlan) -> None:
    """Refuse what two readers may understand differently.

    Raises RequestError 400: `duplicate_header` for a field that may come once only,
    `unsupported_expectation`, `unsafe_connection_option` for a Connection field that would
    make a proxy drop what identifies or frames the request.
    """
    if plan.duplicate is not None:
        raise _duplicate(plan.duplicate)
    expect = plan.value(headers, b"expect")
    if expect is not None and expect.strip().lower() != b"100-continue":
        raise RequestError(400, "unsupported_expectation", "Expect may only be 100-continue.")
    if plan.connections and not SINGLE.isdisjoint(_options(headers, plan.connections)):
        raise RequestError(
            400,
            "unsafe_connection_option",
            "Connection must not name a header that identifies or frames the request.",
        )


def _duplicate(name: bytes) -> RequestError:
    text = name.decode("latin-1")
    return RequestError(400, "duplicate_header", f"The header {text} may come only once.")


# ── who is calling ───────────────────────────────────────────────────────────────────────────


def credential_of(
    headers: Headers,
    client: Client | None,
    edge: TrustedEdge,
    keyed: KeyedHash,
    plan: RequestPlan,
) -> str | None:
    """The caller's credential as a keyed hash; None where the request carries none.

    An authenticating edge's identity header wins, from its own networks; from anywhere else it
    is ignored. Otherwise `Authorization: Bearer`, x-api-key, api-key and x-goog-api-key count
    alike; an empty one counts as absent.

    Raises RequestError 400 `conflicting_credentials` or `duplicate_header`, 401
    `invalid_api_key` for what cannot be a key.
    """
    if edge.identity_header is not None and vouches_for(edge.identity_networks, client):
        identities = values_of(headers, edge.identity_header)
        if identities:
            return identity_credential(_identity(identities, edge.identity_header), keyed)
    if plan.duplicate in CREDENTIAL_HEADERS:
        raise _duplicate(plan.duplicate or b"")
    key: bytes | None = None
    for position in plan.credentials:
        name, value = headers[position]
        found = _bearer(value) if name == b"authorization" else value.strip()
        if not found:
            continue
        if key is not None and found != key:
            raise RequestError(
                400, "conflicting_credentials", "The request carries two different API keys."
            )
        key = found
    if key is None:
        return None
    if _KEY.fullmatch(key) is None:
        raise _invalid_key("The API key has characters that no key has, or is too long.")
    return keyed.credential(key)


def identity_credential(account_id: str, keyed: KeyedHash) -> str:
    """Under which an account named by an authenticating edge is known to the store."""
    return keyed.value("identity", account_id)


def _identity(values: Sequence[bytes], header: bytes) -> str:
    if len(values) > 1:
        raise _duplicate(header)
    identity = values[0].decode("latin-1").strip()
    if not identity or len(identity) > MAX_IDENTITY_CHARS or not identity.isprintable():
        raise RequestError(400, "invalid_identity", "The edge's identity header names no account.")
    return identity


def _bearer(value: bytes) -> bytes:
    scheme, _, token = value.strip().partition(b" ")
    if scheme and scheme.lower() != b"bearer":
        raise _invalid_key("Authorization must be `Bearer` and an API key.")
    return token.strip()


def _invalid_key(message: str) -> RequestError:
    return RequestError(401, "invalid_api_key", message)


def sdk_of(headers: Headers, plan: RequestPlan) -> str | None:
    """`openai-python/2.0.0` from the headers that the vendors' SDKs send; at most 90
    characters. None unless product, language and version are all told, plausibly."""
    lang = plan.value(headers, b"x-stainless-lang")
    version = plan.value(headers, b"x-stainless-package-version")
    if lang is None or version is None or max(len(lang), len(version)) > MAX_SDK_WORD_BYTES:
        return None
    agent = plan.value(headers, b"user-agent") or b""
    return _sdk(agent[:MAX_PRODUCT_BYTES], lang, version)


@lru_cache(maxsize=1024)
def _sdk(agent: bytes, lang: bytes, version: bytes) -> str | None:
    product = _PRODUCT.match(agent)
    if product is None or _SDK_WORD.fullmatch(lang) is None or _SDK_WORD.fullmatch(version) is None:
        return None
    return (product[1].lower() + b"-" + lang.lower() + b"/" + version).decode("ascii")


# ── what goes on ─────────────────────────────────────────────────────────────────────────────


def request_headers(
    headers: Headers,
    *,
    credential: tuple[bytes, bytes] | None = None,
    drops: Container[bytes] = (),
) -> Headers:
    """The fields to send to an upstream.

    Left out are hop-by-hop fields and those that Connection names, what the caller claims about
    its own address (an upstream learns no addresses from us), x-hydragate-*, `drops`, names with
    an underscore, what overrides method, path or key, and host, content-length and expect, which
    are the business of whoever writes the request. `credential` replaces every credential of the
    caller, with the cookies, organisation and project that go with it.
    """
    plan = request_plan(headers)
    positions = plan.forwarded if credential is None else plan.forwarded_keyless
    kept = [headers[position] for position in positions]
    if plan.connections:
        named = _options(headers, plan.connections)
        if named is not _USUAL_CONNECTION:
            kept = [pair for pair in kept if pair[0] not in named]
    if drops:
        kept = [pair for pair in kept if pair[0] not in drops]
    kept.append(_VIA_FIELD)
    if credential is not None:
        kept.append(credential)
    return kept


def response_headers(headers: Headers) -> Headers:
    """The fields of an upstream's answer to hand on; their names are in lower case."""
    plan = response_plan(headers)
    kept = [headers[position] for position in plan.returned]
    if plan.connections:
        named = _options(headers, plan.connections)
        if named is not _USUAL_CONNECTION:
            kept = [pair for pair in kept if pair[0] not in named]
    return kept


def _options(headers: Headers, positions: Sequence[int]) -> frozenset[bytes] | set[bytes]:
    """What the Connection fields at `positions` name, in lower case."""
    values = [headers[position][1].lower() for position in positions]
    if len(values) == 1 and values[0] in _USUAL_CONNECTION:
        return _USUAL_CONNECTION
    return {option.strip() for value in values for option in value.split(b",")}
