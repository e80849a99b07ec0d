"""What a visitor is told, once for page and JSON alike. Nothing in it tells of other accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...friction.record import pending_code, waiting_session
from ...friction.visit import Visit
from ...model import SECOND_US, Level
from .port import Provider

WORDS = {
    Level.EMAIL: "a mail address",
    Level.PHONE: "a phone number",
    Level.PAYMENT: "a payment card",
    Level.IDENTITY: "your identity",
    Level.ORGANIZATION: "your organization",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """What came of the last step. `code` is stable, for programs."""

    code: str
    text: str
    is_error: bool = True
    status: int = 200


NOTICES = {
    one.code: one
    for one in (
        Notice("code_sent", "We have sent a code. It works for 15 minutes.", is_error=False),
        Notice("passed", "Thank you, that is done.", is_error=False),
        Notice("wrong_code", "That is not the code we sent. Please look again.", status=400),
        Notice("no_code", "That code is no longer valid. Please ask for a new one.", status=400),
        Notice(
            "too_many_accounts",
            "This address cannot be used for another account. Please use a different one.",
            status=409,
        ),
        Notice("bad_address", "This is not a mail address we can write to.", status=400),
        Notice(
            "disposable_address",
            "Addresses of disposable mail services are not accepted. Please use another one.",
            status=400,
        ),
        Notice("mail_failed", "The mail could not be sent. Please try again shortly.", status=503),
        Notice("too_often", "That was too often. Please wait a while.", status=429),
        Notice("not_asked", "This step is not needed here.", status=409),
        Notice("session_open", "Please go on with our partner now.", is_error=False),
        Notice("appeal_sent", "Thank you. Somebody will read this and answer.", is_error=False),
        Notice("empty_appeal", "Please write what we should know.", status=400),
    )
}
GONE = (
    "This link does not work. It may be incomplete, too old, or already replaced: send your "
    "request to the API again, its answer has a new link."
)


SETBACKS = {
    "failed": "The last check did not succeed. You can try again, or write to us below.",
    "too_many_accounts": (
        "What was last checked cannot be used for another account. Please use something else, or "
        "write to us below."
    ),
}


def why(visit: Visit) -> str:
    """The rule's public text."""
    if visit.ask is not None:
        return visit.ask.message
    return "Verification is required before this account is served further."


def providers_for(visit: Visit, providers: tuple[Provider, ...]) -> list[tuple[Level, Provider]]:
    return [(level, one) for level in visit.steps for one in providers if level in one.levels]


def as_json(
    visit: Visit,
    providers: tuple[Provider, ...],
    *,
    url: str,
    notice: Notice | None,
    now_us: int,
) -> dict[str, Any]:
    code = pending_code(visit.record, now_us)
    appeal = visit.record.appeal
    steps: list[dict[str, Any]] = []
    if Level.EMAIL in visit.steps:
        steps.append(
            {
                "level": "email",
                "ask_for_code": {"post": f"{url}/email", "body": {"email": "you@example.org"}},
                "enter_code": {"post": f"{url}/code", "body": {"code": "12345678"}},
                "code_sent_to": None if code is None else code.shown,
                "code_expires_at": None if code is None else code.expires_us // SECOND_US,
            }
        )
    for level, provider in providers_for(visit, providers):
        name = level.name.lower()
        body = {"provider": provider.name, "level": name}
        waits = waiting_session(visit.record, provider=provider.name, level=level, now_us=now_us)
        start = {"post": f"{url}/provider", "body": body}
        steps.append({"level": name, "start": start, "waits_for_result": waits})
    return {
        "status": status_of(visit),
        "required_level": visit.required.name.lower(),
        "verified_level": visit.held.name.lower(),
        "why": why(visit),
        "steps": steps,
        "link_expires_at": visit.link.expires_us // SECOND_US,
        "setback": visit.record.setback or None,
        "appeal": None if appeal is None else {"text": appeal.text, "answer": appeal.answer},
        "appeal_at": f"{url}/appeal",
        **({} if notice is None else {"code": notice.code, "message": notice.text}),
    }


def status_of(visit: Visit) -> str:
    """verified, waiting, or unavailable where no step that would settle it is offered here."""
    if visit.held >= visit.required:
        return "verified"
    return "waiting" if visit.steps else "unavailable"
