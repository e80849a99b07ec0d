"""The console's application: who may see a page, what is asked for it, and what a form does.

Law: without a session nothing is shown but the page to sign in on, and no form is read; an order
needs the token of its own session's forms and our own origin. Pages do nothing that the admin API
does not do: the same calls, the same audit log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ...adapters.html import Html, tag
from ...adapters.verify.incoming import BODY_TIMEOUT_S, SECURITY, RefusedError, read_fields
from ...errors import StoreError
from ...observe.visible import visible
from ...workers.cluster_desk import NoAnswerError
from . import views
from .session import MAX_NAME_CHARS, Session, Sessions
from .views import HOME

T = TypeVar("T")

COOKIE = "hydragate-console"
MAX_QUEUE = 200
DECISION_CHARS = 26


class Operations(Protocol):
    """What pages show and forms order. Methods raise StoreError, NoAnswerError where no linker
    answers, OSError where the audit log takes nothing, and HTTPException with what is wrong."""

    async def status(self) -> dict[str, Any]: ...

    async def linker(self) -> tuple[dict[str, Any] | None, float | None]:
        """Its last status and how far it is behind, in seconds."""
        ...

    async def is_shadow_all(self) -> bool: ...

    async def clusters(self, state: str | None, limit: int) -> dict[str, Any]: ...

    async def cluster(self, cluster_id: str, offset: int, limit: int) -> dict[str, Any]: ...

    async def decide(self, act: str, cluster_id: str, *, by: str, reason: str) -> None:
        """`act`: confirm or dismiss."""
        ...

    async def set_frozen(self, is_frozen: bool, *, by: str, reason: str) -> None: ...

    async def account(self, account_id: str) -> dict[str, Any]: ...

    async def set_banned(
        self, account_id: str, is_banned: bool, *, by: str, reason: str
    ) -> None: ...

    async def set_shadow_all(self, wanted: bool, *, by: str, reason: str) -> None: ...

    async def decision(self, decision_id: str) -> dict[str, Any]: ...

    async def appeals(self) -> list[dict[str, Any]]: ...

    async def answer_appeal(self, account_id: str, text: str, *, by: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Posted:
    """A form of somebody who is signed in."""

    session: Session
    fields: Mapping[str, str]
    path: Mapping[str, str]

    def reason(self) -> str:
        """Raises HTTPException 422 where none is given."""
        reason = self.fields.get("reason", "").strip()
        if not reason:
            raise HTTPException(422, "Say why.")
        return reason[: views.MAX_REASON_CHARS]


View = Callable[[Request, Session], Awaitable[Response]]
Order = Callable[[Posted], Awaitable[str]]
"""Does it, and says where to go on."""


class ConsoleSite:
    """Builds the application, to be mounted under `HOME`."""

    def __init__(
        self,
        operations: Operations,
        *,
        admin_token: str,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._operations = operations
        self._sessions = Sessions(admin_token)
        self._now_s = now_s
        self._style = files(__package__).joinpath("style.css").read_bytes()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/style.css", self._show_style),
                Route("/sign-in", self._show_sign_in),
                Route("/sign-in", self._sign_in, methods=["POST"]),
                Route("/sign-out", self._order(self._sign_out), methods=["POST"]),
                Route("/", self._view(self._overview)),
                Route("/mode", self._order(self._set_mode), methods=["POST"]),
                Route("/linker", self._order(self._set_frozen), methods=["POST"]),
                Route("/find", self._view(self._find)),
                Route("/clusters", self._view(self._clusters)),
                Route("/clusters/{cluster_id}", self._view(self._cluster)),
                Route("/clusters/{cluster_id}", self._order(self._decide), methods=["POST"]),
                Route("/accounts/{account_id:path}", self._view(self._account)),
                Route("/accounts/{account_id:path}", self._order(self._ban), methods=["POST"]),
                Route("/decisions/{decision_id}", self._view(self._decision)),
                Route("/appeals", self._view(self._appeals)),
                Route("/appeals", self._order(self._answer), methods=["POST"]),
            ],
            exception_handlers={
                HTTPException: self._failed,
                ClientDisconnect: self._left,
                404: self._failed,
            },
        )

    # ── who is asking ────────────────────────────────────────────────────────────────────────

    def _session(self, request: Request) -> Session | None:
        return self._sessions.read(request.cookies.get(COOKIE, ""), int(self._now_s()))

    def _view(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        async def show(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return _to(f"{HOME}/sign-in")
            return await _sound(view(request, session))

        return show

    def _order(self, order: Order) -> Callable[[Request], Awaitable[Response]]:
        async def take(request: Request) -> Response:
            session = self._session(request)
            if session is None:
                return _to(f"{HOME}/sign-in")
            _check_origin(request)
            fields = await _fields(request)
            if not session.has_form(fields.get("form", "")):
                raise HTTPException(403, "This form is of another session: load the page again.")
            response = _to(await _sound(order(Posted(session, fields, request.path_params))))
            if order == self._sign_out:
                response.delete_cookie(COOKIE, path=HOME)
            return response

        return take

    async def _show_sign_in(self, request: Request) -> Response:
        return _page(views.sign_in_page(is_wrong=False))

    async def _sign_in(self, request: Request) -> Response:
        _check_origin(request)
        fields = await _fields(request)
        by = fields.get("by", "").strip()[:MAX_NAME_CHARS]
        if not by or not self._sessions.is_admin_token(fields.get("token", "")):
            return _page(views.sign_in_page(is_wrong=True), 403)
        response = _to(f"{HOME}/")
        response.set_cookie(
            COOKIE,
            self._sessions.cookie_for(by, int(self._now_s())),
            path=HOME,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response

    async def _sign_out(self, posted: Posted) -> str:
        return f"{HOME}/sign-in"

    # ── pages ────────────────────────────────────────────────────────────────────────────────

    async def _show_style(self, request: Request) -> Response:
        headers = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}
        return Response(self._style, media_type="text/css", headers=headers)

    async def _overview(self, request: Request, session: Session) -> Response:
        status, is_shadow_all = await asyncio.gather(
            self._operations.status(), self._operations.is_shadow_all()
        )
        linker, lag_s = await self._operations.linker()
        parts = views.overview(session, status, linker, lag_s, is_shadow_all=is_shadow_all)
        return await self._show(request, session, "Overview", parts, is_shadow_all=is_shadow_all)

    async def _find(self, request: Request, session: Session) -> Response:
        wanted = request.query_params.get("q", "").strip()
        decision_id = wanted.removeprefix("req_").upper()
        if len(decision_id) == DECISION_CHARS and decision_id.isascii() and decision_id.isalnum():
            return _to(f"{HOME}/decisions/{decision_id}")
        if wanted.startswith("cl_"):
            return _to(f"{HOME}/clusters/{quote(wanted, safe='')}")
        return _to(f"{HOME}/accounts/{quote(wanted, safe='')}")

    async def _clusters(self, request: Request, session: Session) -> Response:
        state = request.query_params.get("state")
        if state is not None and state not in views.STATES:
            raise HTTPException(404, "There is no such state of a cluster.")
        answer = await self._operations.clusters(state, MAX_QUEUE)
        return await self._show(request, session, "Clusters", views.queue(answer, state))

    async def _cluster(self, request: Request, session: Session) -> Response:
        cluster_id = request.path_params["cluster_id"]
        said = request.query_params.get("offset", "0")
        offset = int(said) if said.isdecimal() and len(said) < 9 else 0
        found = await self._operations.cluster(cluster_id, offset, views.ACCOUNTS_A_PAGE)
        return await self._show(
            request,
            session,
            f"Cluster {found['cluster_id']}",
            views.cluster(session, found, offset),
        )

    async def _account(self, request: Request, session: Session) -> Response:
        found = await self._operations.account(request.path_params["account_id"])
        title = f"Account {visible(found['account_id'])}"
        return await self._show(request, session, title, views.account(session, found))

    async def _decision(self, request: Request, session: Session) -> Response:
        found = await self._operations.decision(request.path_params["decision_id"])
        return await self._show(request, session, f"Decision {found['id']}", views.decision(found))

    async def _appeals(self, request: Request, session: Session) -> Response:
        found = await self._operations.appeals()
        return await self._show(request, session, "Appeals", views.appeals(session, found))

    async def _show(
        self,
        request: Request,
        session: Session,
        title: str,
        parts: list[Html],
        *,
        is_shadow_all: bool | None = None,
    ) -> Response:
        if is_shadow_all is None:
            is_shadow_all = await self._operations.is_shadow_all()
        notice = request.query_params.get("done")
        return _page(
            views.document(
                title, *parts, session=session, is_shadow_all=is_shadow_all, notice=notice
            )
        )

    # ── orders ───────────────────────────────────────────────────────────────────────────────

    async def _set_mode(self, posted: Posted) -> str:
        wanted = posted.fields.get("mode")
        if wanted not in ("normal", "shadow-all"):
            raise HTTPException(422, "The mode is normal or shadow-all.")
        await self._operations.set_shadow_all(
            wanted == "shadow-all", by=posted.session.by, reason=posted.reason()
        )
        return f"{HOME}/?done=mode"

    async def _set_frozen(self, posted: Posted) -> str:
        act = posted.fields.get("act")
        if act not in ("freeze", "thaw"):
            raise HTTPException(422, "The linker can be frozen or thawed.")
        await self._operations.set_frozen(
            act == "freeze", by=posted.session.by, reason=posted.reason()
        )
        return f"{HOME}/?done={'frozen' if act == 'freeze' else 'thawed'}"

    async def _decide(self, posted: Posted) -> str:
        act, cluster_id = posted.fields.get("act"), posted.path["cluster_id"]
        if act not in ("confirm", "dismiss"):
            raise HTTPException(422, "A cluster can be confirmed or dismissed here.")
        await self._operations.decide(act, cluster_id, by=posted.session.by, reason=posted.reason())
        done = "confirmed" if act == "confirm" else "dismissed"
        return f"{HOME}/clusters/{quote(cluster_id, safe='')}?done={done}"

    async def _ban(self, posted: Posted) -> str:
        act, account_id = posted.fields.get("act"), posted.path["account_id"]
        if act not in ("ban", "unban"):
            raise HTTPException(422, "An account can be banned or unbanned here.")
        await self._operations.set_banned(
            account_id, act == "ban", by=posted.session.by, reason=posted.reason()
        )
        return f"{HOME}/accounts/{quote(account_id, safe='')}?done={act}ned"

    async def _answer(self, posted: Posted) -> str:
        account_id = unquote(posted.fields.get("account", ""))
        await self._operations.answer_appeal(account_id, posted.reason(), by=posted.session.by)
        return f"{HOME}/appeals?done=answered"

    # ── what went wrong ──────────────────────────────────────────────────────────────────────

    async def _left(self, request: Request, error: Exception) -> Response:
        """Nobody reads it; without it whoever closes early writes a traceback into our log."""
        return Response(status_code=400)

    async def _failed(self, request: Request, error: Exception) -> Response:
        """Within a session what is wrong is said under its links; outside nothing more than why."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else "Something went wrong."
        if status == 404 and detail == "Not Found":
            detail = "There is no such page."
        said = tag("p", visible(str(detail)), class_="error", role="alert")
        title = "Not found" if status == 404 else "That did not work"
        return _page(views.document(title, said, session=self._session(request)), status)


async def _sound(doing: Awaitable[T]) -> T:
    """What it gives. Raises HTTPException in place of what keeps operations from being done."""
    try:
        return await doing
    except StoreError as error:
        raise HTTPException(503, f"The store does not answer: {error.kind}.") from None
    except NoAnswerError as error:
        raise HTTPException(503, str(error)) from None
    except OSError as error:
        detail = f"Nothing was done: the audit log cannot be written: {error.strerror or error}."
        raise HTTPException(503, detail) from None


def _check_origin(request: Request) -> None:
    """Raises HTTPException 403 for a form that another site's page has sent."""
    fetched = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    host = request.headers.get("host", "")
    is_own = origin is None or origin.partition("://")[2] == host
    if fetched not in ("same-origin", "none") or not is_own:
        raise HTTPException(403, "This form was sent from another site.")


async def _fields(request: Request) -> dict[str, str]:
    """Raises HTTPException for what is no form of ours, is too large, or does not come."""
    try:
        fields, is_form = await read_fields(request, BODY_TIMEOUT_S)
    except RefusedError as error:
        raise HTTPException(error.status, error.text) from None
    if not is_form:
        raise HTTPException(415, "Only forms are read here.")
    return fields


def _page(page: str, status: int = 200) -> Response:
    return Response(page, status, SECURITY, "text/html; charset=utf-8")


def _to(where: str) -> Response:
    return RedirectResponse(where, 303, headers=SECURITY)
