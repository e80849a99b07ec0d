"""Who sees the console, what a form may do, and that what callers wrote stays text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from html import unescape
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount

from gateway.adapters.verify.incoming import MAX_FORM_BYTES
from gateway.console.browser.site import COOKIE, ConsoleSite
from gateway.console.browser.views import HOME, NOTICES
from gateway.errors import StoreError
from gateway.workers.cluster_desk import NoAnswerError

TOKEN = "0123456789abcdef0123456789abcdef"
BASE = "http://127.0.0.1:9090"
NASTY = '<script>alert(1)</script>"\u202e\x1b[2J'
PAGES = ("/", "/clusters", "/clusters/cl_1", "/accounts/a/b", "/decisions/D1", "/appeals")
FORMS = ("/mode", "/linker", "/clusters/cl_1", "/accounts/a/b", "/appeals")
Done = tuple[str, tuple[Any, ...], str, str]


class Fake:
    """Operations that answer with what callers may have written, and note what was ordered."""

    def __init__(self) -> None:
        self.done: list[Done] = []
        self.fails: Exception | None = None
        self.is_shadow = False

    def _ready(self) -> None:
        if self.fails is not None:
            raise self.fails

    async def status(self) -> dict[str, Any]:
        self._ready()
        return {
            "ready": True,
            "workers": {"serving": 2, "wanted": 2},
            "store": "ok",
            "policy": {"name": "enforce", "revision": "abc"},
            "restarts": 0,
        }

    async def linker(self) -> tuple[dict[str, Any] | None, float | None]:
        counts = {"suspected": 1}
        said = {"leader": NASTY, "at_us": 1, "is_frozen": False}
        return said | {"clusters": counts, "accounts": counts}, 0.5

    async def is_shadow_all(self) -> bool:
        return self.is_shadow

    def _cluster(self) -> dict[str, Any]:
        return {
            "cluster_id": "cl_1",
            "state": "suspected",
            "size": 450,
            "score": 39.0,
            "first_seen_us": 1_776_816_000_000_000,
            "families": {"payment": 38.9},
            "why": [NASTY],
        }

    async def clusters(self, state: str | None, limit: int) -> dict[str, Any]:
        self._ready()
        return {"clusters": [self._cluster()], "total": 1, "frozen": False}

    async def cluster(self, cluster_id: str, offset: int, limit: int) -> dict[str, Any]:
        self._ready()
        more = {
            "accounts": [f"{NASTY}{number}" for number in range(offset, offset + limit)],
            "decisions": [{"action": "split", "by": NASTY, "reason": NASTY}],
            "unpublished": 0,
            "behaviour": {"score": 0.5, "members_read": 9, "compared_with": 99, "why": [NASTY]},
        }
        return self._cluster() | more

    async def decide(self, act: str, cluster_id: str, *, by: str, reason: str) -> None:
        self._ready()
        self.done.append((act, (cluster_id,), by, reason))

    async def set_frozen(self, is_frozen: bool, *, by: str, reason: str) -> None:
        self.done.append(("frozen", (is_frozen,), by, reason))

    async def account(self, account_id: str) -> dict[str, Any]:
        if account_id == "nobody":
            raise HTTPException(404, "no such account")
        names = ("status", "tier", "org_id", "billing_country", "email_domain", "pseudonym")
        return dict.fromkeys(names, NASTY) | {
            "account_id": account_id,
            "created_us": None,
            "contracts": [NASTY],
            "grants": [{"level": "email", "granted_us": 1}],
            "key_ids": [NASTY],
            "cluster_id": "cl_1",
            "cluster_state": "suspected",
            "suspicion": 0.9,
        }

    async def set_banned(self, account_id: str, is_banned: bool, *, by: str, reason: str) -> None:
        self.done.append(("banned", (account_id, is_banned), by, reason))

    async def set_shadow_all(self, wanted: bool, *, by: str, reason: str) -> None:
        self.done.append(("shadow", (wanted,), by, reason))

    async def decision(self, decision_id: str) -> dict[str, Any]:
        return {"id": decision_id, "account": NASTY, "text": f"Decision\n{NASTY}"}

    async def appeals(self) -> list[dict[str, Any]]:
        return [{"account_id": NASTY, "text": NASTY, "at_us": 1}]

    async def answer_appeal(self, account_id: str, text: str, *, by: str) -> None:
        self.done.append(("answer", (account_id,), by, text))


class Unread:
    """A body that must not be asked for."""

    def __aiter__(self) -> Unread:
        return self

    async def __anext__(self) -> bytes:
        raise AssertionError("it was read")


class Visitor(httpx.AsyncClient):
    """A browser before a console with fake operations."""

    def __init__(self) -> None:
        self.operations = Fake()
        self.now_s = 1_776_816_000.0
        site = ConsoleSite(self.operations, admin_token=TOKEN, now_s=lambda: self.now_s)
        app = Starlette(routes=[Mount(HOME, site.app())])
        super().__init__(
            transport=httpx.ASGITransport(app), base_url=BASE, headers={"origin": BASE}
        )

    async def sign_in(self, by: str = "ada") -> None:
        answer = await self.send_form("/sign-in", by=by, token=TOKEN)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}/")

    async def see(self, path: str) -> httpx.Response:
        return await self.get(HOME + path)

    async def send_form(self, path: str, **fields: str) -> httpx.Response:
        return await self.post(HOME + path, data=fields)

    async def form_token(self) -> str:
        page = (await self.see("/")).text
        return page.split('name="form" value="')[1].split('"')[0]


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    async with Visitor() as one:
        yield one


@pytest.mark.parametrize("path", [*PAGES, "/find?q=acc_1"])
async def test_who_is_not_signed_in_sees_no_page(visitor: Visitor, path: str) -> None:
    answer = await visitor.see(path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}/sign-in")
    assert answer.text == ""


@pytest.mark.parametrize("path", FORMS)
async def test_who_is_not_signed_in_orders_nothing_and_no_form_is_read(
    visitor: Visitor, path: str
) -> None:
    answer = await visitor.post(HOME + path, content=Unread())
    assert (answer.status_code, visitor.operations.done) == (303, [])


@pytest.mark.parametrize("fields", [{"by": "ada", "token": "wrong"}, {"by": " ", "token": TOKEN}])
async def test_signing_in_takes_a_name_and_the_token(
    visitor: Visitor, fields: dict[str, str]
) -> None:
    answer = await visitor.send_form("/sign-in", **fields)
    assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)
    assert TOKEN not in answer.text


async def test_the_cookie_is_for_the_console_alone_and_ends(visitor: Visitor) -> None:
    answer = await visitor.send_form("/sign-in", by="ada", token=TOKEN)
    said = answer.headers["set-cookie"]
    assert said.startswith(f"{COOKIE}=")
    assert {part.strip().lower() for part in said.split(";")[1:]} == {
        *("httponly", "samesite=strict", "path=/console"),
    }
    assert TOKEN not in said
    assert (await visitor.see("/")).status_code == 200
    visitor.now_s += 8 * 3600
    assert (await visitor.see("/")).status_code == 303


async def test_signing_out_takes_the_cookie_back(visitor: Visitor) -> None:
    await visitor.sign_in()
    answer = await visitor.send_form("/sign-out", form=await visitor.form_token())
    assert answer.headers["location"] == f"{HOME}/sign-in"
    assert (await visitor.see("/")).status_code == 303


@pytest.mark.parametrize("path", ["/sign-in", *PAGES, "/nothing"])
async def test_a_page_runs_no_script_and_stands_in_no_frame(visitor: Visitor, path: str) -> None:
    await visitor.sign_in()
    answer = await visitor.see(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "<script" not in answer.text


@pytest.mark.parametrize("path", PAGES)
async def test_what_callers_wrote_stays_text_and_is_seen(visitor: Visitor, path: str) -> None:
    await visitor.sign_in(NASTY)
    page = (await visitor.see(path)).text
    assert "<script" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
    assert "\\u202e\\x1b" in page


async def test_an_order_needs_the_token_of_its_own_session(visitor: Visitor) -> None:
    await visitor.sign_in("eve")
    of_another = await visitor.form_token()
    await visitor.sign_in("ada")
    for token in ("", of_another, TOKEN, "\u00fc"):
        answer = await visitor.send_form(
            "/clusters/cl_1", form=token, act="confirm", reason="because"
        )
        assert answer.status_code == 403
    assert visitor.operations.done == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8080"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_an_order_of_another_site_is_refused(
    visitor: Visitor, headers: dict[str, str]
) -> None:
    await visitor.sign_in()
    fields = {"form": await visitor.form_token(), "act": "confirm", "reason": "because"}
    answer = await visitor.post(f"{HOME}/clusters/cl_1", data=fields, headers=headers)
    assert (answer.status_code, visitor.operations.done) == (403, [])


@pytest.mark.parametrize(
    ("path", "fields", "done", "goes_on"),
    [
        ("/clusters/cl_1", {"act": "confirm"}, ("confirm", ("cl_1",)), "/clusters/cl_1?done="),
        ("/clusters/cl_1", {"act": "dismiss"}, ("dismiss", ("cl_1",)), "/clusters/cl_1?done="),
        ("/linker", {"act": "freeze"}, ("frozen", (True,)), "/?done=frozen"),
        ("/linker", {"act": "thaw"}, ("frozen", (False,)), "/?done=thawed"),
        ("/mode", {"mode": "shadow-all"}, ("shadow", (True,)), "/?done=mode"),
        ("/mode", {"mode": "normal"}, ("shadow", (False,)), "/?done=mode"),
        ("/accounts/a/b", {"act": "ban"}, ("banned", ("a/b", True)), "/accounts/a%2Fb?done="),
        ("/accounts/a/b", {"act": "unban"}, ("banned", ("a/b", False)), "/accounts/a%2Fb?done="),
        ("/appeals", {"account": "a%2Fb"}, ("answer", ("a/b",)), "/appeals?done=answered"),
    ],
)
async def test_an_order_names_who_and_why_and_says_that_it_is_done(
    visitor: Visitor,
    path: str,
    fields: dict[str, str],
    done: tuple[str, tuple[Any, ...]],
    goes_on: str,
) -> None:
    await visitor.sign_in("ada")
    form = {"form": await visitor.form_token(), "reason": " looked at it "}
    answer = await visitor.send_form(path, **form, **fields)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(HOME + goes_on)
    assert visitor.operations.done == [(*done, "ada", "looked at it")]
    page = unescape((await visitor.get(answer.headers["location"])).text)
    assert NOTICES[answer.headers["location"].partition("done=")[2]] in page


@pytest.mark.parametrize(
    ("path", "field"), [(path, "act") for path in FORMS[1:4]] + [("/mode", "mode")]
)
async def test_an_order_that_is_none_or_has_no_reason_does_nothing(
    visitor: Visitor, path: str, field: str
) -> None:
    await visitor.sign_in()
    token = await visitor.form_token()
    unknown = await visitor.send_form(path, form=token, reason="x", **{field: "erase"})
    known = {"/linker": "freeze", "/clusters/cl_1": "confirm", "/mode": "normal"}.get(path, "ban")
    silent = await visitor.send_form(path, form=token, reason="  ", **{field: known})
    assert (unknown.status_code, silent.status_code) == (422, 422)
    assert visitor.operations.done == []


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"x" * (MAX_FORM_BYTES + 1), "application/x-www-form-urlencoded", 413),
        (
            urlencode([(f"f{n}", "1") for n in range(17)]).encode(),
            "application/x-www-form-urlencoded",
            400,
        ),
        (b"\xff=1", "application/x-www-form-urlencoded", 400),
        (b'{"act":"confirm"}', "text/plain", 415),
        (b'{"act":"confirm"}', "application/json", 415),
    ],
)
async def test_what_is_no_form_of_ours_is_refused(
    visitor: Visitor, body: bytes, kind: str, status: int
) -> None:
    await visitor.sign_in()
    answer = await visitor.post(
        f"{HOME}/clusters/cl_1", content=body, headers={"content-type": kind}
    )
    assert (answer.status_code, visitor.operations.done) == (status, [])


async def test_who_closes_early_writes_no_traceback() -> None:
    told: Iterator[dict[str, Any]] = iter(
        [
            {"type": "http.request", "body": b"by=ada", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    statuses = []

    async def receive() -> dict[str, Any]:
        return next(told)

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"host", b"x")]
    scope = {"type": "http", "method": "POST", "path": "/sign-in", "headers": headers}
    site = ConsoleSite(Fake(), admin_token=TOKEN).app()
    await site(scope | {"query_string": b"", "root_path": ""}, receive, send)
    assert statuses[0] == 400


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreError("unreachable", "x"), "The store does not answer: unreachable."),
        (NoAnswerError("no linker answers"), "no linker answers"),
    ],
)
async def test_what_cannot_be_asked_is_said_on_the_page(
    visitor: Visitor, error: Exception, said: str
) -> None:
    await visitor.sign_in()
    token = await visitor.form_token()
    visitor.operations.fails = error
    page = await visitor.see("/clusters")
    assert (page.status_code, said in page.text) == (503, True)
    order = await visitor.send_form("/clusters/cl_1", form=token, act="confirm", reason="x")
    assert (order.status_code, said in order.text) == (503, True)


async def test_nothing_is_done_where_it_cannot_be_audited(visitor: Visitor) -> None:
    await visitor.sign_in()
    token = await visitor.form_token()
    visitor.operations.fails = OSError(28, "No space left on device")
    answer = await visitor.send_form("/clusters/cl_1", form=token, act="confirm", reason="x")
    assert answer.status_code == 503
    assert "No space left on device" in answer.text


@pytest.mark.parametrize(
    ("wanted", "goes_on"),
    [
        ("01M8K09D5WH7MY9JRTTGPP6KZR", "/decisions/01M8K09D5WH7MY9JRTTGPP6KZR"),
        ("req_01m8k09d5wh7my9jrttgpp6kzr", "/decisions/01M8K09D5WH7MY9JRTTGPP6KZR"),
        ("cl_2c9df677a42f08d9", "/clusters/cl_2c9df677a42f08d9"),
        (" acc/1?x ", "/accounts/acc%2F1%3Fx"),
        ("//evil.example", "/accounts/%2F%2Fevil.example"),
    ],
)
async def test_one_field_finds_decisions_clusters_and_accounts(
    visitor: Visitor, wanted: str, goes_on: str
) -> None:
    await visitor.sign_in()
    answer = await visitor.get(f"{HOME}/find", params={"q": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, HOME + goes_on)


async def test_a_large_cluster_comes_in_pages(visitor: Visitor) -> None:
    await visitor.sign_in()
    first = (await visitor.see("/clusters/cl_1")).text
    assert "Accounts 1 to 200 of 450" in first
    assert f'href="{HOME}/clusters/cl_1?offset=200"' in first
    last = (await visitor.see("/clusters/cl_1?offset=400")).text
    assert f'href="{HOME}/clusters/cl_1?offset=200"' in last
    for odd in ("-1", "x", "9" * 30):
        assert "Accounts 1 to 200" in (await visitor.see(f"/clusters/cl_1?offset={odd}")).text


async def test_the_kill_switch_is_seen_on_every_page(visitor: Visitor) -> None:
    await visitor.sign_in()
    visitor.operations.is_shadow = True
    for path in PAGES:
        assert "shadow-all: every rule" in (await visitor.see(path)).text, path


async def test_what_is_not_there_is_404(visitor: Visitor) -> None:
    await visitor.sign_in()
    for path in ("/nothing", "/accounts/nobody", "/clusters?state=made-up"):
        assert (await visitor.see(path)).status_code == 404, path
