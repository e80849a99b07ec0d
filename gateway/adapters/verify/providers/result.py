"""What every scheme comes to."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from ....model import Level

TOLERANCE_S = 300


class WebhookError(Exception):
    """The webhook is not believed, or not understood. `reason` is a metric's label."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Result:
    """`fingerprint` is equal for the same phone, card or person; None where the provider tells
    none. `is_final` False: an event that says nothing of the outcome yet."""

    session: str
    level: Level
    has_passed: bool
    fingerprint: str | None = None
    is_final: bool = True


Reader = Callable[[bytes, Mapping[str, str], bytes, int], Result]
"""(body, headers in lower case, secret, now in Unix seconds). Raises WebhookError."""


def check(
    signed: bytes, given: Iterable[str], secret: bytes, *, timestamp: str, now_s: int
) -> None:
    """HMAC-SHA256 in hex, in constant time, not older or newer than `TOLERANCE_S`.

    The signature comes first, so that only the provider learns that its clock is off.
    """
    wanted = hmac.new(secret, signed, sha256).hexdigest().encode()
    matches = [hmac.compare_digest(wanted, one.encode("utf-8", "replace")) for one in given]
    if not any(matches):
        raise WebhookError("bad_signature", "the signature does not match")
    if not timestamp.isdigit() or abs(now_s - int(timestamp[:12])) > TOLERANCE_S:
        raise WebhookError("expired", f"the timestamp is off by over {TOLERANCE_S} s")
