"""CONTRACTS §5, and what the vendors' own SDKs make of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic
import openai
import pytest

from gateway.adapters.render import NEVER_PASSES, Answer, render_decision, render_error
from gateway.model import (
    SECOND_US,
    Decision,
    Effect,
    Level,
    PlannedStep,
    Quota,
    RequestFacts,
    Step,
    StepKind,
    StepResult,
    Verdict,
)
from tests.core.builders import limit

HOSTILE = 'm"}\r\nX-Evil: 1\r\n\r\n<script>'
LINK = "https://verify.example/v/123"
APPEAL = "appeals@example.org"
FACTS = RequestFacts(
    decision_id="01J0000000000000000000DEC1",
    received_us=0,
    surface="proxy",
    method="POST",
    path="/v1/" + HOSTILE,
    route="chat",
    dialect="openai",
    model=HOSTILE,
    user_agent=HOSTILE,
)
QUOTA = Quota(60, 60 * SECOND_US, 9)
STEP = Step("a:acc_1", "n", StepKind.GCRA, Effect.ENFORCE, SECOND_US, 9 * SECOND_US, 9 * SECOND_US)
DECISION = Decision(
    decision_id=FACTS.decision_id,
    verdict=Verdict.THROTTLE,
    would_be=Verdict.DENY,
    reason="cluster-tokens-200k",
    findings=(),
    subject=None,
    key_id=None,
    policy_revision="r" * 12,
    decided_us=1_800_000_000 * SECOND_US,
    status=429,
    message="Your account sends too many requests.",
    retry_after_us=1_500_000,
    plan=(PlannedStep(limit("n", QUOTA), QUOTA, STEP),),
    results=(StepResult(False, 1_800_000_009 * SECOND_US),),
)
NEVER = replace(DECISION, retry_after_us=-1)
STORE_FAILED = replace(
    DECISION, reason="store_unavailable", retry_after_us=SECOND_US, plan=(), results=()
)
VERIFY = replace(
    DECISION, verdict=Verdict.VERIFY, status=403, level=Level.PHONE, message="Please verify."
)
DENY = replace(DECISION, verdict=Verdict.DENY, status=403, message="This account is closed.")
REGION = replace(DENY, status=451, message="Not available where you are.")
UNLISTED = replace(DENY, reason="route_not_listed")
UNREADABLE = replace(DENY, status=400, reason="duplicate_key", message="The body has a key twice.")
NO_KEY = replace(DENY, status=401, reason="invalid_api_key", message="No such key.")
TOO_LARGE = replace(DENY, status=413, reason="body_too_large", message="The body is too large.")
BUSY = replace(DENY, status=429, reason="gateway_busy", message="Too much at once.")
REFUSALS = {
    "throttle": DECISION,
    "never-passes": NEVER,
    "store-failed": STORE_FAILED,
    "verify": VERIFY,
    "deny": DENY,
    "region": REGION,
    "unlisted": UNLISTED,
    "unreadable": UNREADABLE,
    "no-key": NO_KEY,
    "too-large": TOO_LARGE,
    "busy": BUSY,
}
EVERY_REFUSAL = pytest.mark.parametrize("decision", REFUSALS.values(), ids=REFUSALS.keys())
EVERY_DIALECT = pytest.mark.parametrize("dialect", ["openai", "anthropic", "problem"])


def render(decision: Decision, dialect: str = "openai", **facts: Any) -> Answer:
    return render_decision(
        decision,
        replace(FACTS, dialect=dialect, **facts),
        request_id="req_1",
        appeal=APPEAL,
        verification_url=LINK,
    )


def error_of(answer: Answer, dialect: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.body)
    return body if dialect == "problem" else body["error"]


CODES = [
    ("throttle", "rate_limit_exceeded", "rate_limit_error", "rate_limit_error"),
    ("never-passes", "rate_limit_exceeded", "rate_limit_error", "rate_limit_error"),
    ("store-failed", "rate_limit_exceeded", "rate_limit_error", "rate_limit_error"),
    ("verify", "verification_required", "request_forbidden", "permission_error"),
    ("deny", "access_denied", "request_forbidden", "permission_error"),
    ("region", "region_not_supported", "request_forbidden", "permission_error"),
    ("unlisted", "access_denied", "request_forbidden", "permission_error"),
    ("unreadable", "duplicate_key", "invalid_request_error", "invalid_request_error"),
    ("no-key", "invalid_api_key", "invalid_request_error", "authentication_error"),
    ("too-large", "body_too_large", "invalid_request_error", "request_too_large"),
    ("busy", "gateway_busy", "rate_limit_error", "rate_limit_error"),
]


@pytest.mark.parametrize(("case", "code", "openai_type", "anthropic_type"), CODES)
def test_each_refusal_has_its_code_and_its_dialects_own_type(
    case: str, code: str, openai_type: str, anthropic_type: str
) -> None:
    decision = REFUSALS[case]
    theirs = error_of(render(decision, "openai"), "openai")
    assert (theirs["code"], theirs["type"], theirs["param"]) == (code, openai_type, None)
    envelope = json.loads(render(decision, "anthropic").body)
    assert (envelope["type"], envelope["request_id"]) == ("error", "req_1")
    described = envelope["error"]
    assert (described["code"], described["type"]) == (code, anthropic_type)
    assert described["details"] == {"error_code": code}
    problem = json.loads(render(decision, "problem").body)
    assert (problem["code"], problem["type"]) == (code, "about:blank")
    assert problem["status"] == decision.status


@EVERY_DIALECT
@EVERY_REFUSAL
def test_every_refusal_carries_its_ids_and_nothing_that_the_caller_sent(
    decision: Decision, dialect: str
) -> None:
    answer = render(decision, dialect)
    headers = dict(answer.headers)
    assert len(headers) == len(answer.headers)
    assert answer.status == decision.status < 500
    assert headers[b"x-request-id"] == b"req_1"
    assert headers[b"x-hydragate-decision"] == FACTS.decision_id.encode()
    assert headers[b"content-length"] == str(len(answer.body)).encode()
    assert headers[b"cache-control"] == b"no-store"
    kind = b"application/problem+json" if dialect == "problem" else b"application/json"
    assert headers[b"content-type"] == kind
    assert (b"request-id" in headers) == (dialect == "anthropic")
    described = error_of(answer, dialect)
    assert described["reference"] == FACTS.decision_id
    whole = answer.body + b"".join(name + value for name, value in answer.headers)
    for unsaid in (b"script", b"Evil", b"cluster", b"200k", b"\n"):
        assert unsaid not in whole


@EVERY_DIALECT
def test_a_wait_is_named_in_whole_seconds_and_never_too_short(dialect: str) -> None:
    for retry_after_us, seconds in ((1, b"1"), (SECOND_US, b"1"), (1_000_001, b"2"), (0, b"1")):
        answer = render(replace(DECISION, retry_after_us=retry_after_us), dialect)
        assert dict(answer.headers)[b"retry-after"] == seconds
        assert b"x-should-retry" not in dict(answer.headers)


@EVERY_DIALECT
def test_what_can_never_pass_says_so_and_names_no_wait(dialect: str) -> None:
    answer = render(NEVER, dialect)
    headers = dict(answer.headers)
    assert answer.status == 429
    assert b"retry-after" not in headers
    assert headers[b"x-should-retry"] == b"false"
    text = error_of(answer, dialect)["detail" if dialect == "problem" else "message"]
    assert NEVER_PASSES in text


def test_only_a_throttled_answer_tells_limits() -> None:
    assert b"x-ratelimit-limit-requests" in dict(render(DECISION).headers)
    assert b"anthropic-ratelimit-requests-limit" in dict(render(DECISION, "anthropic").headers)
    assert b"ratelimit" in dict(render(DECISION, "problem").headers)
    for decision in (VERIFY, DENY, REGION, UNREADABLE):
        assert not [name for name, _ in render(decision).headers if b"ratelimit" in name]


@EVERY_DIALECT
def test_a_failing_store_is_told_and_a_policys_rule_names_are_not(dialect: str) -> None:
    assert error_of(render(STORE_FAILED, dialect), dialect)["reason"] == "store_unavailable"
    assert dict(render(STORE_FAILED, dialect).headers)[b"retry-after"] == b"1"
    assert error_of(render(UNLISTED, dialect), dialect)["reason"] == "route_not_listed"
    for decision in (DECISION, VERIFY, DENY):
        assert "reason" not in error_of(render(decision, dialect), dialect)


@EVERY_DIALECT
def test_a_verification_says_what_is_missing_and_where(dialect: str) -> None:
    described = error_of(render(VERIFY, dialect), dialect)
    assert described["required_level"] == "phone"
    assert described["verification_url"] == LINK
    assert "appeal" not in described


@EVERY_DIALECT
@pytest.mark.parametrize("decision", [DENY, REGION], ids=["deny", "region"])
def test_a_denial_names_whom_to_turn_to(decision: Decision, dialect: str) -> None:
    described = error_of(render(decision, dialect), dialect)
    assert described["appeal"] == APPEAL
    assert "verification_url" not in described


def test_nothing_is_invented_where_an_operator_configured_nothing() -> None:
    for decision in (VERIFY, DENY):
        answer = render_decision(
            decision, FACTS, request_id="r", appeal=None, verification_url=None
        )
        described = error_of(answer, "openai")
        assert "appeal" not in described
        assert "verification_url" not in described
        assert "None" not in described["message"]


def test_a_decision_without_a_message_still_says_something() -> None:
    for decision in (DECISION, VERIFY, DENY):
        assert len(error_of(render(replace(decision, message="")), "openai")["message"]) > 20


def test_an_answer_to_head_has_the_same_headers_and_no_body() -> None:
    full, head = render(DENY), render(DENY, method="HEAD")
    assert head.headers == full.headers
    assert head.body == b""


def test_a_served_decision_is_never_rendered() -> None:
    with pytest.raises(ValueError, match="no answer"):
        render(replace(DECISION, verdict=Verdict.ALLOW))


ERRORS = [
    (400, "invalid_request_error", "invalid_request_error"),
    (401, "invalid_request_error", "authentication_error"),
    (413, "invalid_request_error", "request_too_large"),
    (502, "server_error", "api_error"),
    (504, "server_error", "timeout_error"),
]


@pytest.mark.parametrize(("status", "openai_type", "anthropic_type"), ERRORS)
def test_an_error_speaks_the_callers_dialect(
    status: int, openai_type: str, anthropic_type: str
) -> None:
    for dialect, kind in (("openai", openai_type), ("anthropic", anthropic_type)):
        answer = render_error(status, "a_reason", "A text.", dialect, request_id="r\r\nX: 1")
        described = error_of(answer, dialect)
        assert (described["type"], described["code"]) == (kind, "a_reason")
        assert described["message"] == "A text."
        assert dict(answer.headers)[b"x-request-id"] == b"rX:1"
        assert b"x-hydragate-decision" not in dict(answer.headers)


def test_an_error_names_its_decision_and_wait_where_it_has_them() -> None:
    answer = render_error(
        502, "r", "t", "openai", request_id="r", decision_id="dec_1", retry_after_s=0
    )
    headers = dict(answer.headers)
    assert (headers[b"x-hydragate-decision"], headers[b"retry-after"]) == (b"dec_1", b"1")
    assert error_of(answer, "openai")["reference"] == "dec_1"


# ── what SDKs make of it ─────────────────────────────────────────────────────────────────────


class _Server(ThreadingHTTPServer):
    answer: Answer
    calls = 0


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        self.server.calls += 1
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.server.answer.status)
        for name, value in self.server.answer.headers:
            self.send_header(name.decode(), value.decode())
        self.end_headers()
        self.wfile.write(self.server.answer.body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving(answer: Answer) -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.answer = answer
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def openai_error(answer: Answer, retries: int = 0) -> tuple[openai.APIStatusError, int]:
    with serving(answer) as server:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        client = openai.OpenAI(base_url=url, api_key="k", max_retries=retries)
        with client, pytest.raises(openai.APIStatusError) as raised:
            client.chat.completions.create(model="m", messages=[])
        return raised.value, server.calls


def anthropic_error(answer: Answer, retries: int = 0) -> tuple[anthropic.APIStatusError, int]:
    with serving(answer) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        client = anthropic.Anthropic(base_url=url, api_key="k", max_retries=retries)
        with client, pytest.raises(anthropic.APIStatusError) as raised:
            client.messages.create(model="m", messages=[], max_tokens=1)
        return raised.value, server.calls


def test_openais_sdk_shows_code_text_link_and_id() -> None:
    error, _ = openai_error(render(VERIFY))
    assert isinstance(error, openai.PermissionDeniedError)
    assert (error.code, error.type, error.request_id) == (
        "verification_required",
        "request_forbidden",
        "req_1",
    )
    for said in ("Please verify.", LINK, "phone", FACTS.decision_id):
        assert said in str(error)


def test_anthropics_sdk_shows_code_text_link_and_id() -> None:
    error, _ = anthropic_error(render(VERIFY, "anthropic"))
    assert isinstance(error, anthropic.PermissionDeniedError)
    assert (error.type, error.request_id) == ("permission_error", "req_1")
    for said in ("Please verify.", LINK, "phone", FACTS.decision_id, "verification_required"):
        assert said in str(error)


def test_sdks_raise_their_own_error_for_each_status() -> None:
    assert isinstance(openai_error(render(DECISION))[0], openai.RateLimitError)
    assert isinstance(openai_error(render(NO_KEY))[0], openai.AuthenticationError)
    assert isinstance(openai_error(render(UNREADABLE))[0], openai.BadRequestError)
    assert isinstance(anthropic_error(render(DECISION, "anthropic"))[0], anthropic.RateLimitError)
    refused = anthropic_error(render(NO_KEY, "anthropic"))[0]
    assert isinstance(refused, anthropic.AuthenticationError)


def test_sdks_do_not_retry_what_can_never_pass() -> None:
    assert openai_error(render(NEVER), retries=2)[1] == 1
    assert anthropic_error(render(NEVER, "anthropic"), retries=2)[1] == 1
    assert openai_error(render(DENY), retries=2)[1] == 1
