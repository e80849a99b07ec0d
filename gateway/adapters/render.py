"""The gateway's own answers, in the caller's dialect (CONTRACTS §5).

Law: a caller learns the public text of the reason, what it can do next, and the id by which the
operator can explain; never a rule's name, a threshold or a cluster, and nothing that it sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from ..core.judge import ROUTE_NOT_LISTED, STORE_UNAVAILABLE
from ..model import SECOND_US, Decision, Level, RequestFacts, Verdict
from .limit_headers import limit_headers, merge_limit_headers

__all__ = ["Answer", "limit_headers", "merge_limit_headers", "render_decision", "render_error"]

Extras = dict[str, str]

PUBLIC_REASONS = frozenset({STORE_UNAVAILABLE, ROUTE_NOT_LISTED})  # ours, not a policy's
NEVER_PASSES = (
    "The request is larger than the quota allows at once and will never pass as it is; "
    "send a smaller one."
)
_DEFAULT_TEXTS = {
    Verdict.THROTTLE: "Too many requests; please slow down.",
    Verdict.VERIFY: "Verification is required before this request is served.",
    Verdict.DENY: "This request is not served.",
}
_OPENAI_TYPES = {
    401: "invalid_request_error",  # code invalid_api_key, as OpenAI does it
    403: "request_forbidden",
    429: "rate_limit_error",
    451: "request_forbidden",
}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    451: "permission_error",
    504: "timeout_error",
}
_UNSAFE = re.compile(r"[^!-~]")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, ready for ASGI: header names in lower case, length included."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def without_body(self) -> Answer:
        """The answer to HEAD: the same headers, length included, and no body."""
        return Answer(self.status, self.headers, b"")


def render_decision(
    decision: Decision,
    facts: RequestFacts,
    *,
    request_id: str,
    appeal: str | None,
    verification_url: str | None,
) -> Answer:
    """The answer to a decision that does not serve; to HEAD it has no body.

    A throttled request that can never pass (`retry_after_us` -1) stays a 429, because the same
    limit may allow it under another quota, but has no Retry-After and asks SDKs not to retry.
    A decision on an unreadable request (400, 401, 413) renders like `render_error`.
    """
    if decision.is_served:
        raise ValueError("a served decision has no answer of its own")
    headers: list[tuple[bytes, bytes]] = []
    extras: Extras = {}
    if decision.verdict is Verdict.THROTTLE:
        code = "rate_limit_exceeded"
        headers = _throttle_headers(decision) + limit_headers(decision, facts.dialect)
    elif decision.verdict is Verdict.VERIFY:
        code = "verification_required"
        extras = _verification(decision.level, verification_url)
    elif decision.status in (403, 451):
        code = "region_not_supported" if decision.status == 451 else "access_denied"
        extras = {} if appeal is None else {"appeal": appeal}
    else:
        code = decision.reason
        headers = [(b"retry-after", b"1")] if decision.status == 429 else []
    if decision.reason in PUBLIC_REASONS:
        extras["reason"] = decision.reason
    answer = _answer(
        decision.status,
        code,
        _text(decision, extras),
        facts.dialect,
        request_id=request_id,
        decision_id=decision.decision_id,
        extras=extras,
        headers=headers,
    )
    return answer.without_body() if facts.method == "HEAD" else answer


def render_error(
    status: int,
    reason: str,
    message: str,
    dialect: str,
    *,
    request_id: str,
    decision_id: str | None = None,
    retry_after_s: int | None = None,
) -> Answer:
    """An error that no policy decided: bad requests, and faults of the upstream (502, 504)."""
    headers = [] if retry_after_s is None else [(b"retry-after", b"%d" % max(1, retry_after_s))]
    return _answer(
        status,
        reason,
        message,
        dialect,
        request_id=request_id,
        decision_id=decision_id,
        extras={},
        headers=headers,
    )


def _throttle_headers(decision: Decision) -> list[tuple[bytes, bytes]]:
    if decision.retry_after_us < 0:
        return [(b"x-should-retry", b"false")]  # both vendors' SDKs heed it
    return [(b"retry-after", b"%d" % max(1, -(-decision.retry_after_us // SECOND_US)))]


def _verification(level: Level | None, url: str | None) -> Extras:
    extras = {"required_level": (level or Level.NONE).name.lower()}
    if url is not None:
        extras["verification_url"] = url
    return extras


def _text(decision: Decision, extras: Mapping[str, str]) -> str:
    """One text with everything in it: some SDKs show the message and nothing else."""
    parts = [decision.message or _DEFAULT_TEXTS[decision.verdict]]
    if decision.verdict is Verdict.THROTTLE and decision.retry_after_us < 0:
        parts.append(NEVER_PASSES)
    if "required_level" in extras:
        parts.append(f"Required level: {extras['required_level']}.")
    if "verification_url" in extras:
        parts.append(f"Verify at {extras['verification_url']} .")
    if "appeal" in extras:
        parts.append(f"To appeal, turn to {extras['appeal']} .")
    if decision.status in (403, 451):
        parts.append(f"Reference: {decision.decision_id}")
    return " ".join(parts)


def _answer(
    status: int,
    code: str,
    message: str,
    dialect: str,
    *,
    request_id: str,
    decision_id: str | None,
    extras: Extras,
    headers: list[tuple[bytes, bytes]],
) -> Answer:
    if decision_id is not None:
        extras = {**extras, "reference": decision_id}
    request_id = _UNSAFE.sub("", request_id)
    body, content_type = _body(status, code, message, dialect, request_id, extras)
    fixed = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),  # a 451 would be cacheable (RFC 7725 §3)
        (b"x-request-id", request_id.encode("ascii")),
    ]
    if dialect == "anthropic":
        fixed.append((b"request-id", request_id.encode("ascii")))  # the one its SDK reads
    if decision_id is not None:
        decision_value = _UNSAFE.sub("", decision_id).encode("ascii")
        fixed.append((b"x-hydragate-decision", decision_value))
    return Answer(status, fixed + headers, body)


def _body(
    status: int, code: str, message: str, dialect: str, request_id: str, extras: Extras
) -> tuple[bytes, bytes]:
    """The error object and its media type.

    Anthropic's `error.type` is a closed set that says the status in a word; our code stands
    beside it, and in `details.error_code`, where its SDK looks for one.
    """
    if dialect == "openai":
        kind = _OPENAI_TYPES.get(status, _generic_type(status, "server_error"))
        error = {"message": message, "type": kind, "param": None, "code": code, **extras}
        return _encode({"error": error}), b"application/json"
    if dialect == "anthropic":
        kind = _ANTHROPIC_TYPES.get(status, _generic_type(status, "api_error"))
        details = {"error_code": code}
        described = {"type": kind, "message": message, "code": code, **extras, "details": details}
        envelope = {"type": "error", "error": described, "request_id": request_id}
        return _encode(envelope), b"application/json"
    problem = {
        "type": "about:blank",
        "title": _phrase(status),
        "status": status,
        "detail": message,
        "code": code,
        "request_id": request_id,
        **extras,
    }
    return _encode(problem), b"application/problem+json"


def _generic_type(status: int, of_server: str) -> str:
    return of_server if status >= 500 else "invalid_request_error"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
