"""Stripe's webhooks: cards by `charge.succeeded`, persons by Identity's sessions.

`Stripe-Signature: t=<Unix seconds>,v1=<hex>[,v1=…]`, HMAC-SHA256 with the endpoint's secret over
`<t>.<body>`; other schemes (v0) are ignored, and while a secret is rolled there are two v1.
Source: docs.stripe.com/webhooks ("Verify webhook signatures manually").

The session travels in `metadata.hydragate_session`. A card is told apart by
`payment_method_details.card.fingerprint`; Identity's event names no person, so the integration
puts its own stable reference into `metadata.hydragate_fingerprint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ....model import Level
from .result import Result, WebhookError, check

MAX_PARTS = 16
_OUTCOMES = {
    "charge.succeeded": (Level.PAYMENT, True),
    "charge.failed": (Level.PAYMENT, False),
    "identity.verification_session.verified": (Level.IDENTITY, True),
    "identity.verification_session.canceled": (Level.IDENTITY, False),
}


class _Data(msgspec.Struct):
    object: dict[str, Any]


class _Event(msgspec.Struct):
    type: str
    data: _Data


_decode = msgspec.json.Decoder(_Event).decode


def read_result(body: bytes, headers: Mapping[str, str], secret: bytes, now_s: int) -> Result:
    """Raises WebhookError; an event of another type is a Result that is not final."""
    pairs = [
        part.strip().partition("=")
        for part in headers.get("stripe-signature", "").split(",")[:MAX_PARTS]
    ]
    timestamp = next((value for name, _, value in pairs if name == "t"), "")
    given = [value for name, _, value in pairs if name == "v1"]
    signed = timestamp.encode("latin-1", "replace") + b"." + body
    check(signed, given, secret, timestamp=timestamp, now_s=now_s)
    try:
        event = _decode(body)
    except msgspec.MsgspecError as error:
        raise WebhookError("malformed", str(error)) from None
    told = event.data.object
    metadata = _table(told, "metadata")
    session = metadata.get("hydragate_session")
    outcome = _OUTCOMES.get(event.type)
    if outcome is None or not isinstance(session, str):
        return Result("", Level.NONE, False, is_final=False)
    level, has_passed = outcome
    fingerprint = metadata.get("hydragate_fingerprint")
    if level is Level.PAYMENT:
        fingerprint = _table(_table(told, "payment_method_details"), "card").get("fingerprint")
    return Result(session, level, has_passed, fingerprint if isinstance(fingerprint, str) else None)


def _table(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, dict) else {}
