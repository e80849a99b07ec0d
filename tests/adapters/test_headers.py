from __future__ import annotations

import pytest

from gateway.adapters.client import networks
from gateway.adapters.headers import (
    TrustedEdge,
    check_headers,
    credential_of,
    identity_credential,
    request_headers,
    request_plan,
    response_headers,
    sdk_of,
)
from gateway.core.keyed import KeyedHash
from gateway.errors import RequestError

KEYED = KeyedHash(b"a secret of the operator")
NO_EDGE = TrustedEdge()
EDGE = TrustedEdge(identity_header=b"x-account", identity_networks=networks(["10.0.0.0/8"]))
CLIENT = ("203.0.113.7", 1)
INSIDE = ("10.0.0.1", 1)
Headers = list[tuple[bytes, bytes]]


def reason_of(check: object) -> tuple[int, str]:
    assert callable(check)
    with pytest.raises(RequestError) as refused:
        check()
    return refused.value.status, refused.value.reason


# ── credentials ──────────────────────────────────────────────────────────────────────────────

CREDENTIALS = [
    pytest.param([(b"authorization", b"Bearer sk-1")], b"sk-1", id="bearer"),
    pytest.param([(b"authorization", b"bEARER   sk-1 ")], b"sk-1", id="bearer-any-case"),
    pytest.param([(b"x-api-key", b"sk-1")], b"sk-1", id="x-api-key"),
    pytest.param([(b"api-key", b" sk-1 ")], b"sk-1", id="api-key"),
    pytest.param([(b"x-goog-api-key", b"sk-1")], b"sk-1", id="x-goog-api-key"),
    pytest.param([(b"x-api-key", b"k"), (b"authorization", b"Bearer k")], b"k", id="same-twice"),
    pytest.param([(b"authorization", b"Bearer "), (b"x-api-key", b"k")], b"k", id="empty-bearer"),
    pytest.param([(b"authorization", b""), (b"x-api-key", b"k")], b"k", id="empty-authorization"),
    pytest.param([(b"authorization", b"Bearer")], None, id="bare-bearer"),
    pytest.param([(b"cookie", b"k")], None, id="none"),
    pytest.param([(b"x-api-key", b"k" * 4096)], b"k" * 4096, id="longest"),
]


@pytest.mark.parametrize(("headers", "key"), CREDENTIALS)
def test_a_credential_leaves_as_a_keyed_hash(headers: Headers, key: bytes | None) -> None:
    expected = None if key is None else KEYED.credential(key)
    assert credential_of(headers, CLIENT, NO_EDGE, KEYED, request_plan(headers)) == expected


BAD_CREDENTIALS = [
    pytest.param(
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"b")],
        (400, "conflicting_credentials"),
        id="two-keys",
    ),
    pytest.param(
        [(b"x-api-key", b"a"), (b"x-api-key", b"a")], (400, "duplicate_header"), id="header-twice"
    ),
    pytest.param(
        [(b"authorization", b"Bearer a"), (b"authorization", b"")],
        (400, "duplicate_header"),
        id="authorization-twice",
    ),
    pytest.param([(b"authorization", b"Basic a")], (401, "invalid_api_key"), id="basic"),
    pytest.param(
        [(b"authorization", b"Basic a"), (b"x-api-key", b"k")],
        (401, "invalid_api_key"),
        id="basic-beside-a-key",
    ),
    pytest.param([(b"authorization", b"sk-1")], (401, "invalid_api_key"), id="no-scheme"),
    pytest.param([(b"authorization", b"Bearer a b")], (401, "invalid_api_key"), id="two-words"),
    pytest.param([(b"x-api-key", b"k\xff")], (401, "invalid_api_key"), id="no-ascii"),
    pytest.param([(b"x-api-key", b"k" * 4097)], (401, "invalid_api_key"), id="too-long"),
]


@pytest.mark.parametrize(("headers", "refused"), BAD_CREDENTIALS)
def test_what_two_servers_could_take_for_two_callers_is_refused(
    headers: Headers, refused: tuple[int, str]
) -> None:
    assert (
        reason_of(lambda: credential_of(headers, CLIENT, NO_EDGE, KEYED, request_plan(headers)))
        == refused
    )


def test_no_refusal_repeats_a_credential() -> None:
    for header in ((b"authorization", b"Basic hunter2"), (b"x-api-key", b"hunter2 \xff")):
        with pytest.raises(RequestError) as refused:
            credential_of([header], CLIENT, NO_EDGE, KEYED, request_plan([header]))
        assert "hunter2" not in refused.value.message


def test_an_identity_header_is_believed_from_its_own_networks_only() -> None:
    headers = [(b"x-account", b"acc_1"), (b"x-api-key", b"k")]
    assert credential_of(
        headers, INSIDE, EDGE, KEYED, request_plan(headers)
    ) == identity_credential("acc_1", KEYED)
    for client, edge in ((CLIENT, EDGE), (None, EDGE), (INSIDE, NO_EDGE)):
        assert credential_of(
            headers, client, edge, KEYED, request_plan(headers)
        ) == KEYED.credential(b"k")
    assert credential_of(
        [(b"x-api-key", b"k")], INSIDE, EDGE, KEYED, request_plan([(b"x-api-key", b"k")])
    ) == KEYED.credential(b"k")


def test_an_identity_is_never_the_credential_of_the_same_text() -> None:
    assert identity_credential("sk-1", KEYED) != KEYED.credential(b"sk-1")


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        pytest.param([b"a", b"b"], (400, "duplicate_header"), id="two"),
        pytest.param([b""], (400, "invalid_identity"), id="empty"),
        pytest.param([b"a\x00"], (400, "invalid_identity"), id="nul"),
        pytest.param([b"a" * 257], (400, "invalid_identity"), id="too-long"),
    ],
)
def test_an_identity_that_names_nobody_is_refused(
    values: list[bytes], refused: tuple[int, str]
) -> None:
    headers = [(b"x-account", value) for value in values]
    assert (
        reason_of(lambda: credential_of(headers, INSIDE, EDGE, KEYED, request_plan(headers)))
        == refused
    )


# ── what is refused ──────────────────────────────────────────────────────────────────────────

REFUSED = [
    pytest.param([(b"host", b"a"), (b"host", b"b")], "duplicate_header", id="two-hosts"),
    pytest.param(
        [(b"content-length", b"1"), (b"content-length", b"1")], "duplicate_header", id="lengths"
    ),
    pytest.param(
        [(b"content-encoding", b"gzip"), (b"content-encoding", b"gzip")],
        "duplicate_header",
        id="codings",
    ),
    pytest.param([(b"expect", b"200-ok")], "unsupported_expectation", id="expect"),
    pytest.param(
        [(b"connection", b"close, X-Api-Key")], "unsafe_connection_option", id="drops-the-key"
    ),
    pytest.param(
        [(b"connection", b"keep-alive"), (b"connection", b"authorization")],
        "unsafe_connection_option",
        id="drops-the-key-in-a-second-line",
    ),
    pytest.param(
        [(b"connection", b"content-length")], "unsafe_connection_option", id="drops-the-length"
    ),
]
FINE = [
    pytest.param([], id="none"),
    pytest.param([(b"cookie", b"a"), (b"cookie", b"b"), (b"accept", b"*/*")], id="two-cookies"),
    pytest.param([(b"expect", b"100-Continue")], id="expect-continue"),
    pytest.param([(b"connection", b"Keep-Alive")], id="keep-alive"),
    pytest.param([(b"connection", b"upgrade, http2-settings, te")], id="upgrade"),
]


@pytest.mark.parametrize(("headers", "reason"), REFUSED)
def test_headers_that_two_readers_take_differently_are_refused(
    headers: Headers, reason: str
) -> None:
    assert reason_of(lambda: check_headers(headers, request_plan(headers))) == (400, reason)


@pytest.mark.parametrize("headers", FINE)
def test_ordinary_headers_pass(headers: Headers) -> None:
    check_headers(headers, request_plan(headers))


# ── what goes on ─────────────────────────────────────────────────────────────────────────────

END_TO_END = [
    (b"accept", b"*/*"),
    (b"anthropic-version", b"2023-06-01"),
    (b"authorization", b"Bearer k"),
    (b"content-type", b"application/json"),
    (b"cookie", b"a"),
    (b"cookie", b"b"),
    (b"idempotency-key", b"i"),
]
HOP_BY_HOP = [
    (b"connection", b"keep-alive, X-Private"),
    (b"x-private", b"1"),
    (b"keep-alive", b"timeout=5"),
    (b"proxy-authorization", b"Basic x"),
    (b"proxy-connection", b"keep-alive"),
    (b"te", b"trailers"),
    (b"trailer", b"x"),
    (b"transfer-encoding", b"chunked"),
    (b"upgrade", b"h2c"),
    (b"http2-settings", b"AAA"),
]
CLAIMS = [
    (b"forwarded", b"for=1.1.1.1"),
    (b"x-forwarded-for", b"1.1.1.1"),
    (b"x-forwarded-proto", b"https"),
    (b"x-real-ip", b"1.1.1.1"),
    (b"cf-connecting-ip", b"1.1.1.1"),
    (b"true-client-ip", b"1.1.1.1"),
    (b"x-hydragate-decision", b"forged"),
    (b"host", b"gateway"),
    (b"content-length", b"5"),
    (b"expect", b"100-continue"),
]


def test_a_request_keeps_what_is_end_to_end_in_its_order_and_nothing_else() -> None:
    mixed = [pair for three in zip(END_TO_END, HOP_BY_HOP, CLAIMS, strict=False) for pair in three]
    mixed += HOP_BY_HOP[len(END_TO_END) :] + CLAIMS[len(END_TO_END) :]
    assert request_headers(mixed) == [*END_TO_END, (b"via", b"1.1 hydragate")]


def test_the_operators_credential_replaces_every_one_of_the_callers() -> None:
    theirs = [(b"authorization", b"Bearer k"), (b"x-api-key", b"k"), (b"api-key", b"k")]
    kept = request_headers([*theirs, (b"accept", b"*/*")], credential=(b"x-api-key", b"ours"))
    assert kept == [(b"accept", b"*/*"), (b"via", b"1.1 hydragate"), (b"x-api-key", b"ours")]


@pytest.mark.parametrize(
    "name",
    [
        *(b"x_api_key", b"x_forwarded_for", b"transfer_encoding", b"x_hydragate_account"),
        *(b"x-http-method-override", b"x-original-url", b"ocp-apim-subscription-key"),
    ],
)
def test_what_an_upstream_could_take_for_another_request_is_left_out(name: bytes) -> None:
    assert request_headers([(name, b"x"), (b"accept", b"*/*")]) == [
        (b"accept", b"*/*"),
        (b"via", b"1.1 hydragate"),
    ]


@pytest.mark.parametrize("name", [b"cookie", b"openai-organization", b"openai-project"])
def test_who_else_is_charged_is_the_callers_business_with_its_own_key_only(name: bytes) -> None:
    theirs = [(name, b"x")]
    assert (name, b"x") in request_headers(theirs)
    assert (name, b"x") not in request_headers(theirs, credential=(b"x-api-key", b"ours"))


def test_named_headers_are_dropped_and_a_via_chain_is_kept() -> None:
    kept = request_headers([(b"x-account", b"a"), (b"via", b"1.1 edge")], drops={b"x-account"})
    assert kept == [(b"via", b"1.1 edge"), (b"via", b"1.1 hydragate")]


def test_a_response_keeps_what_is_end_to_end_in_lower_case() -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"5"),
        (b"connection", b"close, X-Private"),
        (b"x-private", b"1"),
        (b"keep-alive", b"timeout=5"),
        (b"transfer-encoding", b"chunked"),
        (b"proxy-authenticate", b"Basic"),
        (b"trailer", b"x"),
        (b"upgrade", b"h2c"),
        (b"alt-svc", b'h3=":443"'),
        (b"x-hydragate-decision", b"forged"),
        (b"retry-after", b"3"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
    ]
    assert response_headers(headers) == [
        (b"content-type", b"application/json"),
        (b"content-length", b"5"),
        (b"retry-after", b"3"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
    ]


SDKS = [
    pytest.param(b"OpenAI/Python 2.0.0", b"python", b"2.0.0", "openai-python/2.0.0", id="openai"),
    pytest.param(b"AsyncOpenAI/Python 2", b"python", b"2", "openai-python/2", id="async"),
    pytest.param(b"AsyncAzureOpenAI/Python 2", b"python", b"2", "openai-python/2", id="azure"),
    pytest.param(b"Anthropic/JS 0.9", b"js", b"0.9.0-beta.1", "anthropic-js/0.9.0-beta.1", id="js"),
    pytest.param(b"OpenAI/Python 2", None, b"2", None, id="no-language"),
    pytest.param(b"OpenAI/Python 2", b"python", None, None, id="no-version"),
    pytest.param(None, b"python", b"2", None, id="no-user-agent"),
    pytest.param(b"curl", b"python", b"2", None, id="no-product"),
    pytest.param(b"OpenAI/Python", b"python", b"2\xff", None, id="strange-version"),
    pytest.param(b"OpenAI/Python", b"python", b"2" * 33, None, id="long-version"),
    pytest.param(b"OpenAI/Python", b"p y", b"2", None, id="strange-language"),
    pytest.param(b"x" * 5000 + b"/1", b"python", b"2", None, id="long-product"),
]


@pytest.mark.parametrize(("agent", "lang", "version", "sdk"), SDKS)
def test_an_sdk_is_known_by_the_headers_it_sends(
    agent: bytes | None, lang: bytes | None, version: bytes | None, sdk: str | None
) -> None:
    sent = {
        b"user-agent": agent,
        b"x-stainless-lang": lang,
        b"x-stainless-package-version": version,
    }
    headers = [(name, value) for name, value in sent.items() if value is not None]
    assert sdk_of(headers, request_plan(headers)) == sdk
