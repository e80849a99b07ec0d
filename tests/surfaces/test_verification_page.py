"""The page in real Chromium: by keyboard, without script, 320 px wide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from .browser import Browser, needs_chromium
from .conftest import ask_admin
from .verifying import Verifying, verifying

KEYS = [f"sk-page-{n}-0123456789abcdef" for n in range(3)]
WIDTH = 320


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, upstream: str) -> Iterator[Verifying]:
    accounts: list[dict[str, Any]] = [
        {"account_id": f"acc_p{n}", "keys": [key]} for n, key in enumerate(KEYS)
    ]
    with verifying(tmp_path_factory.mktemp("pages"), upstream, accounts) as one:
        yield one


@pytest.fixture
def page(opened: Browser) -> Browser:
    opened.resize(WIDTH, 640)
    return opened


@needs_chromium
def test_a_developer_passes_by_keyboard_alone_and_is_served(
    site: Verifying, page: Browser, shots: Path
) -> None:
    messages: Any = [{"role": "user", "content": "Hello"}]
    base_url = f"{site.public_url}/v1"
    with openai.OpenAI(base_url=base_url, api_key=KEYS[0], max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.chat.completions.create(model="small", messages=messages)
        body: Any = refused.value.body
        page.open(body["verification_url"])
        assert page.named("heading") == ["Please confirm a mail address"]
        assert "Please confirm your mail address to use this API." in page.text()
        assert page.content_width() <= WIDTH
        page.screenshot(shots / "1-asked.png")
        page.tab_to("Mail address")
        page.write("ada.lovelace@example.org")
        page.enter()
        assert "We have sent a code. It works for 15 minutes." in page.text()
        assert page.content_width() <= WIDTH
        page.screenshot(shots / "2-sent.png")
        page.open(page.url)  # loading it again neither sends nor loses anything
        assert len(site.mail.messages) == 1
        page.tab_to("Code from the mail")
        page.write("0000 0000")
        page.enter()
        assert "That is not the code we sent. Please look again." in page.text()
        page.screenshot(shots / "3-wrong.png")
        page.tab_to("Code from the mail")
        page.write(site.mail.last_code())
        page.enter()
        assert page.named("heading") == ["You are verified"]
        page.screenshot(shots / "4-verified.png")
        answer = client.chat.completions.create(model="small", messages=messages)
        assert answer.choices


@needs_chromium
def test_an_appeal_is_written_answered_and_read_on_the_page(
    site: Verifying, page: Browser, shots: Path
) -> None:
    url = site.link(KEYS[1], "big")
    page.open(url)
    assert page.named("heading") == ["Please confirm your identity"]
    page.tab_to("Is this a mistake, or can you not do this? Write to us.")
    page.enter()
    page.tab_to("What should we know?")
    page.write("I have no passport & <b>need</b> another way.")
    page.tab_to("Send")
    page.enter()
    assert "Thank you. Somebody will read this and answer." in page.text()
    assert page.content_width() <= WIDTH
    waiting = ask_admin(site.server, "GET", "/api/appeals")[1]["appeals"]
    assert [one["account_id"] for one in waiting] == ["acc_p1"]
    answer = {"account_id": "acc_p1", "text": "We have taken your word for it.", "by": "ines"}
    assert ask_admin(site.server, "POST", "/api/appeals/answer", answer)[0] == 200
    grant = {"account_id": "acc_p1", "level": "identity", "by": "ines", "reason": "talked to her"}
    assert ask_admin(site.server, "POST", "/api/verifications/grant", grant)[0] == 200
    page.open(url)
    assert "Answer: We have taken your word for it." in page.text()
    assert page.named("heading") == ["You are verified"]
    page.screenshot(shots / "5-answered.png")
    assert site.chat(KEYS[1], "big")[0] == 200


@needs_chromium
def test_every_field_and_button_has_a_name_and_nothing_is_wider_than_a_phone(
    site: Verifying, page: Browser, shots: Path
) -> None:
    url = site.link(KEYS[2], "big")
    page.open(url)
    for role in ("textbox", "button", "link", "DisclosureTriangle"):
        assert all(page.named(role)), role
    assert page.named("button") == ["Go on with ID Check"]
    page.tab_to("Go on with ID Check")
    page.enter()
    assert page.named("link") == ["Continue"]
    assert page.content_width() <= WIDTH
    page.screenshot(shots / "6-provider.png")
    page.open(f"{site.public_url}/.hydragate/verify/nothing")
    assert page.named("heading") == ["Link not valid"]
    page.screenshot(shots / "7-gone.png")
