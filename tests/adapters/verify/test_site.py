"""What comes in at the public pages: bodies that stay away, visitors that go, links made up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pytest

from gateway.adapters.client import TrustedEdge
from gateway.adapters.verify.incoming import MAX_FORM_BYTES
from gateway.adapters.verify.port import Desk, Provider, Wait
from gateway.adapters.verify.site import PREFIX, SiteTerms, VerificationSite
from gateway.adapters.verify.state import NOTICES
from gateway.core.keyed import KeyedHash
from gateway.friction.links import Link
from gateway.friction.record import Record
from gateway.friction.visit import Entry, Visit
from gateway.model import Level, Subject

FORM = f"{PREFIX}verify/token/appeal"
WEBHOOK = f"{PREFIX}webhooks/idcheck"
PROVIDER = Provider("idcheck", "ID", "hmac", frozenset({Level.PHONE}), "https://x", b"s", False)
Receive = Callable[[], Awaitable[dict[str, Any]]]


def visit() -> Visit:
    entry = Entry(Subject("acc_1", pseudonym="p" * 24), Record(), "", b"")
    link = Link("p" * 24, Level.EMAIL, b"", 2_000_000_000_000_000)
    return Visit("token", link, entry, Level.EMAIL, Level.NONE, (Level.EMAIL,), None)


@dataclass
class FakeDesk:
    """A desk with one visitor; `brakes` says whether it slows everybody down."""

    brakes: bool = False
    seen: list[str] = field(default_factory=list)

    def form_token(self, token: str) -> str:
        return "f" * 32

    async def brake_visit(self, network: str) -> Wait | None:
        self.seen.append("brake")
        return Wait(60) if self.brakes else None

    async def visit(self, token: str) -> Visit | None:
        self.seen.append("visit")
        return visit()

    async def start(self, visit: Visit) -> None:
        self.seen.append("start")


class _Clock:
    def now_us(self) -> int:
        return 1_776_816_000_000_000


def site_of(desk: FakeDesk, *, body_timeout_s: float = 5.0) -> Any:
    return VerificationSite(
        cast(Desk, desk),
        terms=SiteTerms("https://api.example.org", "Example", (PROVIDER,), TrustedEdge()),
        mailer=None,
        keyed=KeyedHash(b"s" * 32),
        clock=_Clock(),
        count_webhook=lambda name, outcome: None,
        body_timeout_s=body_timeout_s,
    ).app()


async def ask(
    site: Any, method: str, path: str, receive: Receive, query: bytes = b""
) -> tuple[int, dict[str, str], Any]:
    answer: list[Any] = []

    async def send(message: Any) -> None:
        answer.append(message)

    await site(
        {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [(b"content-type", b"application/json")],
            "client": ("203.0.113.7", 1),
            "server": ("gateway", 80),
            "scheme": "http",
            "root_path": "",
        },
        receive,
        send,
    )
    headers = {name.decode(): value.decode() for name, value in answer[0]["headers"]}
    text = b"".join(message["body"] for message in answer[1:])
    return answer[0]["status"], headers, orjson.loads(text) if text else None


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def gone() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def unread() -> dict[str, Any]:
    raise AssertionError("the body was read")


async def nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize("path", [FORM, WEBHOOK])
async def test_a_body_that_never_comes_is_not_waited_for(path: str) -> None:
    site = site_of(FakeDesk(), body_timeout_s=0.01)
    status, headers, said = await asyncio.wait_for(ask(site, "POST", path, never), 5)
    assert (status, said["code"]) == (408, "too_slow")
    assert headers["connection"] == "close"


@pytest.mark.parametrize("path", [FORM, WEBHOOK])
async def test_a_client_that_leaves_while_it_sends_is_no_news(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await ask(site_of(FakeDesk()), "POST", path, gone)  # raises nothing
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


async def test_whoever_is_braked_is_answered_before_its_body_is_read() -> None:
    desk = FakeDesk(brakes=True)
    status, _, said = await ask(site_of(desk), "POST", FORM, unread)
    assert (status, said["code"], desk.seen) == (429, "too_often", ["brake"])


@pytest.mark.parametrize("path", [FORM, WEBHOOK])
async def test_a_body_beyond_the_bound_is_not_read_on(path: str) -> None:
    async def much() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * MAX_FORM_BYTES * 3, "more_body": True}

    status, headers, said = await ask(site_of(FakeDesk()), "POST", path, much)
    assert (status, said["code"]) == (413, "too_large")
    assert headers["connection"] == "close"


@pytest.mark.parametrize("notice", NOTICES.values(), ids=NOTICES)
async def test_a_link_never_chooses_the_status_or_an_error(notice: Any) -> None:
    query = f"said={notice.code}".encode()
    page = f"{PREFIX}verify/token"
    status, _, said = await ask(site_of(FakeDesk()), "GET", page, nothing, query)
    assert status == 200
    assert said.get("code") == (None if notice.is_error else notice.code)
