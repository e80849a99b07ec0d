"""Signed links: the right to verify one account, until an instant. And sessions with a provider.

Law: a link names its account by pseudonym, never by id, and nobody can make one without the
secret. It says which rule asked, so that the page can say why; what is needed is read anew.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b

from ..core.keyed import KeyedHash
from ..model import SECOND_US, Level

PSEUDONYM_BYTES = 12
TAG_BYTES = 4
_PAYLOAD_BYTES = PSEUDONYM_BYTES + TAG_BYTES + 1 + 5
_TOKEN = re.compile(r"[A-Za-z0-9_-]{30}\.[0-9a-f]{32}")
_SESSION = re.compile(r"[0-9a-f]{24}\.[0-9a-f]{24}\.[0-9a-f]{32}")
_PSEUDONYM = re.compile(r"[0-9a-f]{24}")


@dataclass(frozen=True, slots=True)
class Link:
    """`rule_tag` is `tag_of` the rule that asked."""

    pseudonym: str
    level: Level
    rule_tag: bytes
    expires_us: int


def tag_of(rule: str) -> bytes:
    return blake2b(rule.encode(), digest_size=TAG_BYTES).digest()


def sign(keyed: KeyedHash, link: Link) -> str | None:
    """The token; None for an account whose pseudonym is not of our making."""
    if not _PSEUDONYM.fullmatch(link.pseudonym):
        return None
    expires_s = -(-link.expires_us // SECOND_US)
    payload = (
        bytes.fromhex(link.pseudonym)
        + link.rule_tag
        + bytes([link.level])
        + expires_s.to_bytes(5, "big")
    )
    text = urlsafe_b64encode(payload).decode().rstrip("=")
    return f"{text}.{keyed.value('verify-link', text)}"


def read(keyed: KeyedHash, token: str) -> Link | None:
    """What a token says, expired or not; None for what we did not sign."""
    if not _TOKEN.fullmatch(token):
        return None
    text, _, mac = token.partition(".")
    if not hmac.compare_digest(mac, keyed.value("verify-link", text)):
        return None
    payload = urlsafe_b64decode(text + "==")
    if len(payload) != _PAYLOAD_BYTES or payload[16] > max(Level):
        return None
    return Link(
        payload[:12].hex(),
        Level(payload[16]),
        payload[12:16],
        int.from_bytes(payload[17:], "big") * SECOND_US,
    )


def sign_session(keyed: KeyedHash, pseudonym: str, nonce: str) -> str:
    """What a provider carries through its pages and brings back in its webhook."""
    text = f"{pseudonym}.{nonce}"
    return f"{text}.{keyed.value('verify-session', text)}"


def read_session(keyed: KeyedHash, session: str) -> tuple[str, str] | None:
    """(pseudonym, nonce); None for what we did not sign."""
    if not _SESSION.fullmatch(session):
        return None
    text, _, mac = session.rpartition(".")
    if not hmac.compare_digest(mac, keyed.value("verify-session", text)):
        return None
    pseudonym, _, nonce = text.partition(".")
    return pseudonym, nonce


def form_token(keyed: KeyedHash, token: str) -> str:
    """Stands in every form of a link's page: who cannot read the page cannot post to it."""
    return keyed.value("verify-form", token)
