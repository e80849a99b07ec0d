"""What the pages ask of the desk (`workers/verification_desk`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...friction.mail_address import MailAddress
from ...friction.record import Outcome
from ...friction.visit import Visit
from ...model import Level


@dataclass(frozen=True, slots=True)
class Wait:
    """Too often: come back in `retry_after_s`, at least 1."""

    retry_after_s: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A code to send: it is accepted from now on, whether it arrives or not."""

    code: str
    to: MailAddress


@dataclass(frozen=True, slots=True)
class Provider:
    """Whoever verifies elsewhere, ready to use."""

    name: str
    title: str
    kind: str
    levels: frozenset[Level]
    start_url: str
    secret: bytes
    needs_fingerprint: bool


class Desk(Protocol):
    """Methods raise StoreError."""

    def form_token(self, token: str) -> str: ...
    def is_form_token(self, token: str, given: str) -> bool: ...
    def is_disposable(self, address: MailAddress) -> bool: ...
    async def visit(self, token: str) -> Visit | None: ...
    async def start(self, visit: Visit) -> None: ...
    async def brake_visit(self, network: str) -> Wait | None: ...
    async def offer_mail_code(
        self, visit: Visit, address: MailAddress, network: str
    ) -> Offer | Wait | None: ...
    def note_mail(self, *, is_sent: bool) -> None: ...
    async def enter_mail_code(self, visit: Visit, code: str, network: str) -> Outcome | Wait: ...
    async def open_session(
        self, visit: Visit, level: Level, provider: str
    ) -> str | Wait | None: ...
    async def settle_session(
        self,
        session: str,
        *,
        provider: str,
        level: Level,
        has_passed: bool,
        fingerprint: str | None,
    ) -> Outcome: ...
    async def appeal(self, visit: Visit, text: str) -> Wait | None: ...
