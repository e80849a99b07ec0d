"""When news for the platform's directory is told again, and how it is signed."""

from __future__ import annotations

import hmac
from hashlib import sha256

import msgspec

from ..model import SECOND_US, Level
from .record import Event, Record

FIRST_WAIT_US = 5 * SECOND_US
MAX_WAIT_US = 3600 * SECOND_US
_replace = msgspec.structs.replace


class News(msgspec.Struct, frozen=True):
    """One event as it is told. `id` is the same however often it is."""

    id: str
    event: str  # verification.granted, verification.revoked
    account_id: str
    level: str
    at: int  # Unix seconds
    expires_at: int | None


def news_of(account_id: str, event: Event) -> bytes:
    expires_at = None if event.expires_us is None else event.expires_us // SECOND_US
    return msgspec.json.encode(
        News(
            event.id,
            f"verification.{event.kind}",
            account_id,
            Level(event.level).name.lower(),
            event.at_us // SECOND_US,
            expires_at,
        )
    )


def signed(body: bytes, secret: bytes, now_s: int) -> dict[str, str]:
    """Headers by which the receiver knows us: as we ask of generic providers."""
    mac = hmac.new(secret, f"{now_s}.".encode() + body, sha256).hexdigest()
    return {
        "content-type": "application/json",
        "hydragate-timestamp": str(now_s),
        "hydragate-signature": f"v1={mac}",
    }


def wait_us(attempts: int) -> int:
    """5 s, 10 s, 20 s … 1 h before the attempt after so many."""
    return min(MAX_WAIT_US, FIRST_WAIT_US << min(attempts, 20))


def without(record: Record, event_id: str) -> Record:
    """The record with this event told, or given up on."""
    return _replace(record, outbox=tuple([e for e in record.outbox if e.id != event_id]))


def failed(record: Record, event_id: str) -> Record:
    """One more attempt of the event has failed."""
    outbox = [
        _replace(e, attempts=e.attempts + 1) if e.id == event_id else e for e in record.outbox
    ]
    return _replace(record, outbox=tuple(outbox))
