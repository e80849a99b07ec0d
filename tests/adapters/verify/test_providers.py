"""Signed webhooks of both schemes: what is believed, and what it says."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, get_args

import pytest

from gateway.adapters.verify.providers import READERS, generic, stripe
from gateway.adapters.verify.providers.result import TOLERANCE_S, WebhookError
from gateway.model import Level
from gateway.settings import ProviderConfig

SECRET = b"whsec_of_some_length"
NOW_S = 1_800_000_000


def test_every_kind_in_the_settings_has_a_reader_and_every_reader_a_kind() -> None:
    kinds = get_args(ProviderConfig.model_fields["kind"].annotation)
    assert set(kinds) == set(READERS)


def mac(body: bytes, at: int, secret: bytes = SECRET) -> str:
    return hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def stripe_headers(body: bytes, at: int = NOW_S) -> dict[str, str]:
    return {"stripe-signature": f"t={at},v0={'0' * 64},v1={'1' * 64},v1={mac(body, at)}"}


def generic_headers(body: bytes, at: int = NOW_S) -> dict[str, str]:
    return {"hydragate-timestamp": str(at), "hydragate-signature": f"v1={mac(body, at)}"}


def event(kind: str, **told: Any) -> bytes:
    return json.dumps({"id": "evt_1", "type": kind, "data": {"object": told}}).encode()


CARD = {"payment_method_details": {"card": {"fingerprint": "fp_1"}}}
SESSION = {"metadata": {"hydragate_session": "s.s.s", "hydragate_fingerprint": "person_1"}}


@pytest.mark.parametrize(
    ("body", "level", "has_passed", "fingerprint"),
    [
        pytest.param(
            event("charge.succeeded", **SESSION, **CARD), Level.PAYMENT, True, "fp_1", id="card"
        ),
        pytest.param(
            event("charge.succeeded", **SESSION), Level.PAYMENT, True, None, id="no fingerprint"
        ),
        pytest.param(
            event("identity.verification_session.verified", **SESSION),
            Level.IDENTITY,
            True,
            "person_1",
            id="person",
        ),
        pytest.param(
            event("charge.failed", **SESSION), Level.PAYMENT, False, None, id="card refused"
        ),
    ],
)
def test_stripe_events_are_results(
    body: bytes, level: Level, has_passed: bool, fingerprint: str | None
) -> None:
    result = stripe.read_result(body, stripe_headers(body), SECRET, NOW_S)
    assert (result.session, result.level, result.has_passed) == ("s.s.s", level, has_passed)
    assert result.fingerprint == fingerprint


def test_other_stripe_events_say_nothing() -> None:
    for body in (event("customer.created"), event("charge.succeeded", metadata=None)):
        assert not stripe.read_result(body, stripe_headers(body), SECRET, NOW_S).is_final


@pytest.mark.parametrize(
    ("level", "attestation", "has_passed"),
    [
        pytest.param("phone", None, True, id="phone needs none"),
        pytest.param("organization", None, False, id="organization without"),
        pytest.param(
            "organization",
            {"majority_owned_from_unsupported_region": False, "signed_by": "A. Director"},
            True,
            id="attested",
        ),
        pytest.param(
            "organization",
            {"majority_owned_from_unsupported_region": True, "signed_by": "A. Director"},
            False,
            id="owned from elsewhere",
        ),
        pytest.param(
            "organization",
            {"majority_owned_from_unsupported_region": False},
            False,
            id="signed by nobody",
        ),
    ],
)
def test_an_organization_must_attest_who_owns_it(
    level: str, attestation: object, has_passed: bool
) -> None:
    told = {"session": "s", "level": level, "result": "passed", "attestation": attestation}
    body = json.dumps(told).encode()
    result = generic.read_result(body, generic_headers(body), SECRET, NOW_S)
    assert result.has_passed is has_passed


@pytest.mark.parametrize("scheme", [stripe, generic])
@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (NOW_S - TOLERANCE_S - 1, "expired"),
        (NOW_S + TOLERANCE_S + 1, "expired"),
        (NOW_S, "malformed"),
    ],
)
def test_old_future_and_unreadable_webhooks_are_refused(scheme: Any, at: int, reason: str) -> None:
    body = b"{]"
    headers = stripe_headers(body, at) | generic_headers(body, at)
    with pytest.raises(WebhookError) as refused:
        scheme.read_result(body, headers, SECRET, NOW_S)
    assert refused.value.reason == reason


@pytest.mark.parametrize("scheme", [stripe, generic])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"stripe-signature": "", "hydragate-signature": ""},
        {"stripe-signature": "t=x,v1=", "hydragate-signature": "v1="},
        {"stripe-signature": f"t={NOW_S},v1=é", "hydragate-signature": "v1=é"},
    ],
)
def test_without_a_matching_signature_nothing_is_read(scheme: Any, headers: Any) -> None:
    with pytest.raises(WebhookError) as refused:
        scheme.read_result(b"{}", headers | {"hydragate-timestamp": str(NOW_S)}, SECRET, NOW_S)
    assert refused.value.reason == "bad_signature"
