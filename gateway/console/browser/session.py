"""Who is signed in: a signed cookie that names an operator until it ends, and a token for forms.

Nothing is kept: the key of the signatures follows from the admin token, so another token ends
every session. The admin token itself never goes into a cookie or a page.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote, unquote

SESSION_S = 8 * 3600
MAX_NAME_CHARS = 80
MAX_COOKIE_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class Session:
    """`by` is who the operator says to be: it goes into the audit log. `form_token` belongs into
    every form of the session and is worthless outside of it."""

    by: str
    ends_s: int
    form_token: str

    def has_form(self, given: str) -> bool:
        """Whether a form that carries `given` is of this session."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.form_token.encode())


class Sessions:
    """Signs and reads the cookies of one admin token."""

    def __init__(self, admin_token: str) -> None:
        self._token = admin_token.encode()
        self._key = hmac.digest(self._token, b"hydragate console sessions", "sha256")

    def is_admin_token(self, given: str) -> bool:
        return hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)

    def cookie_for(self, by: str, now_s: int) -> str:
        """The value of a cookie that holds for `SESSION_S`; `by` has at most `MAX_NAME_CHARS`."""
        said = f"{now_s + SESSION_S}.{quote(by[:MAX_NAME_CHARS], safe='')}"
        return f"{said}.{self._sign('session', said)}"

    def read(self, cookie: str, now_s: int) -> Session | None:
        """None for what was not signed here, is over, or is no cookie of ours at all."""
        if len(cookie) > MAX_COOKIE_CHARS:
            return None
        said, _, mac = cookie.rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._sign("session", said).encode()):
            return None
        ends, _, by = said.partition(".")
        if int(ends) <= now_s:
            return None
        return Session(unquote(by), int(ends), self._sign("form", said))

    def _sign(self, purpose: str, said: str) -> str:
        return hmac.new(self._key, f"{purpose} {said}".encode(), sha256).hexdigest()
