"""The scheme for anybody's own verifier.

`Hydragate-Timestamp: <Unix seconds>` and `Hydragate-Signature: v1=<hex>`, HMAC-SHA256 over
`<timestamp>.<body>`. Body: `{"session", "level", "result": "passed"|"failed", "fingerprint",
"attestation"}`. Level organization needs `attestation: {"majority_owned_from_unsupported_region":
false, "signed_by": …}`: whoever cannot attest that has not passed.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ....model import Level
from .result import Result, WebhookError, check

MAX_SIGNATURES = 4


class _Attestation(msgspec.Struct):
    majority_owned_from_unsupported_region: bool
    signed_by: str = ""


class _Body(msgspec.Struct):
    session: str
    level: str
    result: str
    fingerprint: str | None = None
    attestation: _Attestation | None = None


_decode = msgspec.json.Decoder(_Body).decode


def read_result(body: bytes, headers: Mapping[str, str], secret: bytes, now_s: int) -> Result:
    """Raises WebhookError."""
    timestamp = headers.get("hydragate-timestamp", "")
    given = [
        part.strip().removeprefix("v1=")
        for part in headers.get("hydragate-signature", "").split(",")[:MAX_SIGNATURES]
        if part.strip().startswith("v1=")
    ]
    signed = timestamp.encode("latin-1", "replace") + b"." + body
    check(signed, given, secret, timestamp=timestamp, now_s=now_s)
    try:
        told = _decode(body)
    except msgspec.MsgspecError as error:
        raise WebhookError("malformed", str(error)) from None
    level = Level.__members__.get(told.level.upper())
    if level is None or level <= Level.EMAIL:
        raise WebhookError("malformed", "level: phone, payment, identity or organization")
    if told.result not in ("passed", "failed"):
        raise WebhookError("malformed", "result: passed or failed")
    has_passed = told.result == "passed"
    if level is Level.ORGANIZATION and has_passed:
        has_passed = _attests(told.attestation)
    return Result(told.session, level, has_passed, told.fingerprint)


def _attests(attestation: _Attestation | None) -> bool:
    if attestation is None or not attestation.signed_by.strip():
        return False
    return not attestation.majority_owned_from_unsupported_region
