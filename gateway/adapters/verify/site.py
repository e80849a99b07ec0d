"""Everything under `/.hydragate/` on the public port.

Laws: no address in an answer comes from the request (no Host, no redirect target, no Referer); no
cookie is set, so there is nothing for another site to ride on, and a form is accepted only with
the token of its own page and from our own origin; a link that is wrong, old or of an erased account
gets one and the same answer; a mailed link changes nothing by being opened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ...core.keyed import KeyedHash, network_bytes
from ...errors import StoreError
from ...friction.mail_address import AddressError, parse_address
from ...friction.record import CODE_TTL_US, MAX_APPEAL_CHARS
from ...friction.visit import Visit
from ...model import SECOND_US, Level
from ...ports import Clock
from ..client import TrustedEdge, client_address
from .incoming import BODY_TIMEOUT_S, SECURITY, RefusedError, read_fields
from .mail import Mailer, MailError
from .page import gone_page, plain_page, verification_page
from .port import Desk, Provider, Wait
from .state import GONE, NOTICES, Notice, as_json
from .webhooks import Webhooks

PREFIX = "/.hydragate/"
CODE_MINUTES = CODE_TTL_US // SECOND_US // 60
Step = Callable[["Posted"], Awaitable["Done"]]


@dataclass(frozen=True, slots=True)
class SiteTerms:
    public_url: str  # scheme, host and port, without a slash at the end
    service: str
    providers: tuple[Provider, ...]
    edge: TrustedEdge


@dataclass(frozen=True, slots=True)
class Posted:
    """One form or JSON body of a visitor."""

    visit: Visit
    network: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it. `go_on`: where the visitor continues."""

    notice: Notice
    go_on: str | None = None
    retry_after_s: int | None = None


class VerificationSite:
    """Builds the application; one per process."""

    def __init__(
        self,
        desk: Desk,
        *,
        terms: SiteTerms,
        mailer: Mailer | None,
        keyed: KeyedHash,
        clock: Clock,
        count_webhook: Callable[[str, str], None],
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._desk = desk
        self._terms = terms
        self._mailer = mailer
        self._keyed = keyed
        self._clock = clock
        self._body_timeout_s = body_timeout_s
        self._providers = {provider.name: provider for provider in terms.providers}
        self._webhooks = Webhooks(
            desk,
            self._providers,
            clock=clock,
            count=count_webhook,
            body_timeout_s=body_timeout_s,
        )
        self._style = files(__package__).joinpath("style.css").read_bytes()
        self._steps: dict[str, Step] = {
            "email": self._email,
            "code": self._code,
            "provider": self._provider,
            "appeal": self._appeal,
        }

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(f"{PREFIX}style.css", self.style),
                Route(f"{PREFIX}verify/{{token}}", self.show),
                Route(f"{PREFIX}verify/{{token}}/{{step}}", self.take, methods=["POST"]),
                Route(f"{PREFIX}webhooks/{{name}}", self._webhooks.take, methods=["POST"]),
            ],
            exception_handlers={
                StoreError: self._store_failed,
                RefusedError: self._refused,
                ClientDisconnect: self._left,
                404: self._not_found,
                405: self._not_found,
            },
        )

    def url_of(self, token: str) -> str:
        return f"{self._terms.public_url}{PREFIX}verify/{token}"

    # ── the page ─────────────────────────────────────────────────────────────────────────────

    async def style(self, request: Request) -> Response:
        headers = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}
        return Response(self._style, media_type="text/css", headers=headers)

    async def show(self, request: Request) -> Response:
        """State, and what can be done. With `?code=` the field is filled, with `?said=` the page
        repeats what went well: whoever makes up a link can have it say nothing worse."""
        await self._brake(request)
        visit = await self._visit(request)
        await self._desk.start(visit)
        code = request.query_params.get("code", "")[:16]
        notice = NOTICES.get(request.query_params.get("said", ""))
        if notice is not None and notice.is_error:
            notice = None
        return self._answer(request, visit, notice, code=code if code.isdigit() else "")

    async def take(self, request: Request) -> Response:
        """One step. A form is answered with a redirect to the page, so that loading it again
        repeats nothing."""
        step = self._steps.get(request.path_params["step"])
        if step is None:
            raise RefusedError(404, "not_found", "There is nothing here.")
        self._check_origin(request)
        await self._brake(request)  # before the body: whoever is braked holds no connection
        fields, is_form = await read_fields(request, self._body_timeout_s)
        visit = await self._visit(request)
        if is_form and not self._desk.is_form_token(visit.token, fields.get("form", "")):
            raise RefusedError(403, "bad_form", "Please open the page again and use its form.")
        done = await step(Posted(visit, self._network(request), fields))
        seen = await self._desk.visit(visit.token)
        if seen is None:
            raise RefusedError(404, "not_found", GONE)
        if is_form and not done.notice.is_error and done.go_on is None:
            target = f"{self.url_of(visit.token)}?said={done.notice.code}"
            return RedirectResponse(target, 303, headers=SECURITY)
        return self._answer(
            request,
            seen,
            done.notice,
            go_on=done.go_on,
            is_json=not is_form,
            retry_after_s=done.retry_after_s,
        )

    def _answer(
        self,
        request: Request,
        visit: Visit,
        notice: Notice | None,
        *,
        code: str = "",
        go_on: str | None = None,
        is_json: bool | None = None,
        retry_after_s: int | None = None,
    ) -> Response:
        status = 200 if notice is None else notice.status
        url, now_us = self.url_of(visit.token), self._clock.now_us()
        headers = dict(SECURITY)
        if retry_after_s is not None:
            headers["retry-after"] = str(retry_after_s)
        if is_json or (is_json is None and not _wants_html(request)):
            said = as_json(visit, self._terms.providers, url=url, notice=notice, now_us=now_us)
            if go_on is not None:
                said["continue_at"] = go_on
            return JSONResponse(said, status, headers=headers)
        page = verification_page(
            visit,
            self._terms.providers,
            url=f"{PREFIX}verify/{visit.token}",
            service=self._terms.service,
            form_token=self._desk.form_token(visit.token),
            notice=notice,
            now_us=now_us,
            code=code,
            go_on=go_on,
        )
        return Response(page, status, headers, "text/html; charset=utf-8")

    # ── steps ────────────────────────────────────────────────────────────────────────────────

    async def _email(self, posted: Posted) -> Done:
        try:
            address = parse_address(posted.fields.get("email", ""))
        except AddressError:
            return Done(NOTICES["bad_address"])
        if self._desk.is_disposable(address):
            return Done(NOTICES["disposable_address"])
        if self._mailer is None:
            return Done(NOTICES["not_asked"])
        offer = await self._desk.offer_mail_code(posted.visit, address, posted.network)
        if offer is None:
            return Done(NOTICES["not_asked"])
        if isinstance(offer, Wait):
            return Done(NOTICES["too_often"], retry_after_s=offer.retry_after_s)
        link = f"{self.url_of(posted.visit.token)}?code={offer.code}"
        try:
            await self._mailer.send_code(
                offer.to.deliver_to, offer.code, link, minutes=CODE_MINUTES
            )
        except MailError:
            self._desk.note_mail(is_sent=False)
            return Done(NOTICES["mail_failed"])
        self._desk.note_mail(is_sent=True)
        return Done(NOTICES["code_sent"])

    async def _code(self, posted: Posted) -> Done:
        if posted.visit.held >= posted.visit.required:
            return Done(NOTICES["passed"])  # this, or the other half of a double click, did it
        code = posted.fields.get("code", "")
        outcome = await self._desk.enter_mail_code(posted.visit, code, posted.network)
        if isinstance(outcome, Wait):
            return Done(NOTICES["too_often"], retry_after_s=outcome.retry_after_s)
        return Done(NOTICES[outcome.value])

    async def _provider(self, posted: Posted) -> Done:
        provider = self._providers.get(posted.fields.get("provider", ""))
        level = Level.__members__.get(posted.fields.get("level", "").upper())
        if provider is None or level not in provider.levels:
            return Done(NOTICES["not_asked"])
        session = await self._desk.open_session(posted.visit, level, provider.name)
        if session is None:
            return Done(NOTICES["not_asked"])
        if isinstance(session, Wait):
            return Done(NOTICES["too_often"], retry_after_s=session.retry_after_s)
        back = self.url_of(posted.visit.token)
        target = provider.start_url.replace("{session}", quote(session, safe=""))
        target = target.replace("{return_url}", quote(back, safe=""))
        return Done(NOTICES["session_open"], go_on=target)

    async def _appeal(self, posted: Posted) -> Done:
        text = "".join(
            [c for c in posted.fields.get("text", "").strip() if c.isprintable() or c == "\n"]
        )
        if not text:
            return Done(NOTICES["empty_appeal"])
        wait = await self._desk.appeal(posted.visit, text[:MAX_APPEAL_CHARS])
        if wait is not None:
            return Done(NOTICES["too_often"], retry_after_s=wait.retry_after_s)
        return Done(NOTICES["appeal_sent"])

    # ── what every request goes through ──────────────────────────────────────────────────────

    async def _brake(self, request: Request) -> None:
        wait = await self._desk.brake_visit(self._network(request))
        if wait is not None:
            raise RefusedError(429, "too_often", NOTICES["too_often"].text)

    async def _visit(self, request: Request) -> Visit:
        visit = await self._desk.visit(request.path_params["token"])
        if visit is None:
            raise RefusedError(404, "not_found", GONE)
        return visit

    def _network(self, request: Request) -> str:
        address = client_address(
            request.scope.get("client"), request.scope["headers"], self._terms.edge
        )
        return "unknown" if address is None else self._keyed.address(network_bytes(address))

    def _check_origin(self, request: Request) -> None:
        """Browsers say where a form comes from; curl says nothing, and carries no one's rights."""
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site")
        if (origin is not None and origin != self._terms.public_url) or site in (
            "cross-site",
            "same-site",
        ):
            raise RefusedError(403, "bad_origin", "Please open the page again and use its form.")

    async def _left(self, request: Request, error: Exception) -> Response:
        """The client went while it was sending: nobody reads this answer, nothing went wrong."""
        return Response(status_code=400)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusedError)
        return self._plain(request, error.status, error.code, error.text)

    async def _store_failed(self, request: Request, error: Exception) -> Response:
        text = "This cannot be looked up right now. Please try again in a moment."
        return self._plain(request, 503, "store_unavailable", text)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        return self._plain(request, 404, "not_found", "There is nothing here.")

    def _plain(self, request: Request, status: int, code: str, text: str) -> Response:
        headers = dict(SECURITY) | ({"retry-after": "5"} if status in (429, 503) else {})
        if status in (408, 413):  # the rest of the body is not awaited
            headers["connection"] = "close"
        if not _wants_html(request):
            body = {"code": code, "message": text}
            return JSONResponse(body, status, headers=headers)
        service = self._terms.service
        title = "Please try again" if status in (429, 503) else "This did not work"
        page = gone_page(service) if text == GONE else plain_page(service, title, text)
        return Response(page, status, headers, "text/html; charset=utf-8")


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


class Mounted:
    """`site` under `/.hydragate/`, everything else to `app`: one comparison a request."""

    def __init__(self, app: Any, site: Any) -> None:
        self._app = app
        self._site = site

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            found: Awaitable[None] = self._site(scope, receive, send)
            return found
        served: Awaitable[None] = self._app(scope, receive, send)
        return served
