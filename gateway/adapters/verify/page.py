"""The page: one column, no script, every state reachable again by loading it anew."""

from __future__ import annotations

from ...friction.record import pending_code, waiting_session
from ...friction.visit import Visit
from ...model import Level
from ..html import Html, tag
from .port import Provider
from .state import GONE, SETBACKS, WORDS, Notice, providers_for, status_of, why

STYLE_PATH = "/.hydragate/style.css"


def verification_page(
    visit: Visit,
    providers: tuple[Provider, ...],
    *,
    url: str,
    service: str,
    form_token: str,
    notice: Notice | None,
    now_us: int,
    code: str = "",
    go_on: str | None = None,
) -> str:
    """`code` fills the field (from a mailed link); `go_on` is a provider's page to continue at."""
    status = status_of(visit)
    forms = Forms(url, form_token)
    parts = [_notice(notice)]
    if go_on is not None:
        parts.append(tag("p", tag("a", "Continue", class_="button", href=go_on, rel="noreferrer")))
    if status == "verified":
        parts.append(tag("p", "Nothing more is needed. Send your API request again: it is served."))
    else:
        parts.append(tag("p", why(visit)))
    if status != "verified" and notice is None and visit.record.setback in SETBACKS:
        parts.append(tag("p", SETBACKS[visit.record.setback], class_="error", role="alert"))
    if status == "waiting" and go_on is None:
        parts += _steps(visit, providers, forms, now_us, code)
    if status == "unavailable":
        parts.append(tag("p", "This cannot be done online here. Please write to us below."))
    if status != "verified" or visit.record.appeal is not None:
        parts.append(_appeal(visit, forms, is_open=status == "unavailable"))
    titles = {"verified": "You are verified"}
    title = titles.get(status, f"Please confirm {WORDS.get(visit.required, 'your account')}")
    return document(f"{title} – {service}", tag("h1", title), *parts)


def gone_page(service: str) -> str:
    return document(f"Link not valid – {service}", tag("h1", "Link not valid"), tag("p", GONE))


def plain_page(service: str, title: str, text: str) -> str:
    return document(f"{title} – {service}", tag("h1", title), tag("p", text))


def document(title: str, *parts: Html) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="robots", content="noindex"),
        tag("title", title),
        tag("link", rel="stylesheet", href=STYLE_PATH),
    )
    return "<!doctype html>\n" + tag("html", head, tag("body", tag("main", *parts)), lang="en")


class Forms:
    """Forms of one page."""

    def __init__(self, url: str, form_token: str) -> None:
        self._url = url
        self._token = form_token

    def form(self, step: str, *inside: Html) -> Html:
        hidden = tag("input", type="hidden", name="form", value=self._token)
        return tag("form", hidden, *inside, method="post", action=f"{self._url}/{step}")


def _notice(notice: Notice | None) -> Html:
    if notice is None:
        return Html("")
    role = "alert" if notice.is_error else "status"
    return tag("p", notice.text, class_="error" if notice.is_error else "note", role=role)


def _steps(
    visit: Visit, providers: tuple[Provider, ...], forms: Forms, now_us: int, code: str
) -> list[Html]:
    parts: list[Html] = []
    if Level.EMAIL in visit.steps:
        parts += _email(visit, forms, now_us, code)
    for level, provider in providers_for(visit, providers):
        waits = waiting_session(visit.record, provider=provider.name, level=level, now_us=now_us)
        parts.append(_provider(level, provider, forms, waits=waits))
    return parts


def _email(visit: Visit, forms: Forms, now_us: int, code: str) -> list[Html]:
    sent = pending_code(visit.record, now_us)
    address = forms.form(
        "email",
        tag("label", "Mail address", for_="email"),
        tag(
            "input",
            id="email",
            name="email",
            type="email",
            autocomplete="email",
            required=True,
            maxlength="254",
        ),
        tag("button", "Send me a code" if sent is None else "Send a new code", type="submit"),
    )
    if sent is None:
        return [tag("p", "We send you a code by mail. You need it once."), address]
    enter = forms.form(
        "code",
        tag("label", "Code from the mail", for_="code"),
        tag("p", f"Sent to {sent.shown}. Eight digits.", class_="hint", id="sent"),
        tag(
            "input",
            id="code",
            name="code",
            class_="code",
            inputmode="numeric",
            autocomplete="one-time-code",
            aria_describedby="sent",
            required=True,
            maxlength="16",
            value=code or None,
        ),
        tag("button", "Confirm", type="submit"),
    )
    again = tag("details", tag("summary", "No mail? Another address?"), address)
    return [enter, again]


def _provider(level: Level, provider: Provider, forms: Forms, *, waits: bool) -> Html:
    said = (
        f"We wait for the result from {provider.title}: load this page again in a moment. "
        "If you have not finished there, go on."
        if waits
        else f"{provider.title} checks {WORDS[level]} on pages of their own and tells us only "
        "whether it went well."
    )
    return forms.form(
        "provider",
        tag("input", type="hidden", name="provider", value=provider.name),
        tag("input", type="hidden", name="level", value=level.name.lower()),
        tag("p", said),
        tag("button", f"Go on with {provider.title}", type="submit"),
    )


def _appeal(visit: Visit, forms: Forms, *, is_open: bool) -> Html:
    appeal = visit.record.appeal
    parts: list[Html] = []
    if appeal is not None:
        parts.append(tag("p", f"You wrote: {appeal.text}", class_="hint"))
        answer = "It waits for an answer." if appeal.answer is None else f"Answer: {appeal.answer}"
        parts.append(tag("p", answer, class_="hint"))
    parts.append(
        forms.form(
            "appeal",
            tag("label", "What should we know?", for_="text"),
            tag("textarea", id="text", name="text", rows="4", maxlength="2000", required=True),
            tag("button", "Send", type="submit", class_="quiet"),
        )
    )
    summary = tag("summary", "Is this a mistake, or can you not do this? Write to us.")
    return tag("details", summary, *parts, open=is_open or appeal is not None)
