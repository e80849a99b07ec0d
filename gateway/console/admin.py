"""The admin port: health and metrics for anyone who can reach it, everything else by token.

It is never mounted on the public port.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from ..errors import CursorError, StoreError
from ..workers.account_records import RecordError
from .accounts import add_accounts
from .browser.operations import AdminOperations
from .browser.site import ConsoleSite
from .browser.views import HOME
from .clusters import add_clusters
from .context import AdminContext
from .operators import OperatorsOnly
from .verifications import add_no_verifications, add_verifications

__all__ = ["AdminContext", "admin_app"]

MAX_BODY_BYTES = 256 * 1024 * 1024


def admin_app(context: AdminContext) -> FastAPI:
    """The whole admin application: `/healthz`, `/readyz`, `/metrics`, `/api/…` and `/console`."""
    app = FastAPI(title="Hydragate admin", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(OperatorsOnly, token=context.token, most_bytes=MAX_BODY_BYTES)
    _add_health(app, context)
    if context.verifications is not None:
        add_verifications(app, context.verifications)
    else:
        add_no_verifications(app)
    add_accounts(app, context)
    _add_operations(app, context)
    add_clusters(app, context.desk, context.behaviour)
    console = ConsoleSite(AdminOperations(context), admin_token=context.token)
    app.mount(HOME, console.app())

    @app.exception_handler(StoreError)
    async def store_failed(_: Request, error: StoreError) -> JSONResponse:
        said = "refuses" if error.kind == "refused" else "does not answer"
        return JSONResponse({"detail": f"the store {said}: {error.detail}"}, 503)

    @app.exception_handler(CursorError)
    async def bad_cursor(_: Request, error: CursorError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(UnicodeEncodeError)
    async def bad_text(_: Request, error: UnicodeEncodeError) -> JSONResponse:
        return JSONResponse({"detail": "a text holds half of a surrogate pair"}, 422)

    @app.exception_handler(OverflowError)
    async def bad_number(_: Request, error: OverflowError) -> JSONResponse:
        return JSONResponse({"detail": "a number is too large"}, 422)

    @app.exception_handler(RecordError)
    async def bad_record(_: Request, error: RecordError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    return app


def _add_health(app: FastAPI, context: AdminContext) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        state = await context.readiness()
        return JSONResponse(state, 200 if state["ready"] else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(
            await context.metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


def _add_operations(app: FastAPI, context: AdminContext) -> None:
    @app.get("/api/mode")
    async def get_mode() -> dict[str, str]:
        return {"mode": _mode_text(await context.directory.is_shadow_all())}

    @app.put("/api/mode")
    async def set_mode(
        mode: Annotated[str, Body(embed=True)],
        by: Annotated[str, Body(max_length=200)] = "",
        reason: Annotated[str, Body(max_length=1_000)] = "",
    ) -> dict[str, str]:
        if mode not in ("normal", "shadow-all"):
            raise HTTPException(422, "mode: normal or shadow-all")
        await context.directory.set_shadow_all(mode == "shadow-all")
        context.audit("mode.set", mode, by=by, reason=reason)
        return {"mode": mode}

    @app.get("/api/status")
    async def status() -> dict[str, Any]:
        return await context.status()

    @app.post("/api/policy/reload")
    async def reload_policy() -> JSONResponse:
        problems = [str(problem) for problem in await context.reload_policy()]
        return JSONResponse({"problems": problems}, 422 if problems else 200)

    @app.get("/api/decisions/{decision_id:path}")
    async def explain(decision_id: str) -> JSONResponse:
        """Of a decision's id, or of the request id that was made from it."""
        found = await context.explain(decision_id.removeprefix("req_"))
        if found is None:
            raise HTTPException(404, "no such decision in the log that is kept here")
        return JSONResponse(found)


def _mode_text(shadow_all: bool) -> str:
    return "shadow-all" if shadow_all else "normal"
