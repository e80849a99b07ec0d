"""The admin port: health and metrics for anyone who can reach it, everything else by token.

It is never mounted on the public port. Account records take the form of CONTRACTS §3; raw keys
in them are hashed on arrival and appear in no answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Protocol

import orjson
from fastapi import Body, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse

from ..errors import CursorError, Problem, StoreError
from ..model import Status, Subject
from ..ports import PagedDirectory
from ..workers.accounts import (
    AccountChange,
    ImportReport,
    RecordError,
    RecordReader,
    import_accounts,
    unbanned,
    unknown_fields,
)
from ..workers.cluster_behaviour import ClusterBehaviour
from ..workers.cluster_desk import ClusterDesk
from .clusters import add_clusters
from .operators import OperatorsOnly
from .verifications import VerificationContext, add_no_verifications, add_verifications

MAX_BODY_BYTES = 256 * 1024 * 1024
MAX_PAGE = 1_000
MAX_CURSOR_CHARS = 400

By = Annotated[str, Query(max_length=200)]
Reason = Annotated[str, Query(max_length=1_000)]
Source = Annotated[str, Query(max_length=400)]


class Audit(Protocol):
    """Notes what was done to `target`, by whom and why; both are empty where nobody said."""

    def __call__(
        self, action: str, target: str, *, by: str, reason: str, outcome: str = "done"
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class AdminContext:
    """What the admin API works with; built in `app.py`."""

    directory: PagedDirectory
    desk: ClusterDesk
    behaviour: ClusterBehaviour
    records: RecordReader
    token: str
    log_dir: Path
    metrics_text: Callable[[], Awaitable[bytes]]
    readiness: Callable[[], Awaitable[dict[str, Any]]]  # {"ready": bool, …}
    status: Callable[[], Awaitable[dict[str, Any]]]
    reload_policy: Callable[[], Awaitable[list[Problem]]]
    explain: Callable[[str], Awaitable[dict[str, Any] | None]]
    audit: Audit
    verifications: VerificationContext | None = None


def admin_app(context: AdminContext) -> FastAPI:
    """The whole admin application: `/healthz`, `/readyz`, `/metrics` and `/api/…`."""
    app = FastAPI(title="Hydragate admin", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(OperatorsOnly, token=context.token, most_bytes=MAX_BODY_BYTES)
    _add_health(app, context)
    if context.verifications is not None:
        add_verifications(app, context.verifications)
    else:
        add_no_verifications(app)
    _add_accounts(app, context)
    _add_one_account(app, context)
    _add_operations(app, context)
    add_clusters(app, context.desk, context.behaviour)

    @app.exception_handler(StoreError)
    async def store_failed(_: Request, error: StoreError) -> JSONResponse:
        return JSONResponse({"detail": f"the store does not answer: {error.kind}"}, 503)

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


def _add_accounts(app: FastAPI, context: AdminContext) -> None:
    directory = context.directory

    @app.get("/api/accounts")
    async def list_accounts(
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
        cursor: Annotated[str | None, Query(max_length=MAX_CURSOR_CHARS)] = None,
    ) -> dict[str, Any]:
        """About `limit` accounts, and as `next` the cursor of the page behind them; null at the
        end. A page may be empty and not the last."""
        found, following = await directory.page(cursor, enough=limit)
        return {"accounts": [show(subject) for subject in found], "next": following}

    @app.post("/api/accounts/import")
    async def import_lines(
        request: Request,
        whole: bool = False,
        source: Source = "import",
        by: By = "",
        reason: Reason = "",
    ) -> JSONResponse:
        """Records v1, one a line; `whole=true` removes accounts that no line names, and is
        refused when any line is bad, so that a broken file removes nobody. `source` is what
        problems call the file."""
        report = ImportReport()
        changes = _changes(await request.body(), source, context.records, report)
        is_refused = whole and report.bad > 0
        if not is_refused:
            await import_accounts(changes, directory, report, is_whole=whole)
        context.audit(
            "account.import",
            f"{report.imported} imported, {report.removed} removed",
            by=by,
            reason=reason,
            outcome="refused" if is_refused else "done",
        )
        problems = [str(problem) for problem in report.problems]
        outcome = {"imported": report.imported, "removed": report.removed, "bad": report.bad}
        return JSONResponse(outcome | {"problems": problems}, 422 if report.bad else 200)


def _add_one_account(app: FastAPI, context: AdminContext) -> None:
    directory = context.directory

    async def existing(account_id: str) -> Subject:
        subject = await directory.get(account_id)
        if subject is None:
            raise HTTPException(404, "no such account")
        return subject

    @app.get("/api/accounts/{account_id:path}")
    async def show_account(account_id: str) -> dict[str, Any]:
        subject = await existing(account_id)
        return show(subject) | {"key_ids": sorted((await directory.keys(account_id)).values())}

    @app.put("/api/accounts/{account_id:path}")
    async def put_account(
        account_id: str, record: Annotated[Any, Body()], by: By = "", reason: Reason = ""
    ) -> dict[str, Any]:
        """Create the account, or replace all that the record may say of it."""
        change = context.records.read(_named(record, account_id))
        stored = await directory.get(account_id)
        base = None if stored is None else change.base_for_replacement(stored)
        written = await _write(context, change, base, "account.put", by=by, reason=reason)
        return written | _warnings(context.records, record)

    @app.patch("/api/accounts/{account_id:path}")
    async def patch_account(
        account_id: str, record: Annotated[Any, Body()], by: By = "", reason: Reason = ""
    ) -> dict[str, Any]:
        """Change only what the record names; null clears."""
        change = context.records.read(_named(record, account_id))
        stored = await existing(account_id)
        written = await _write(context, change, stored, "account.patch", by=by, reason=reason)
        return written | _warnings(context.records, record)

    @app.post("/api/accounts/{account_id:path}/unban")
    async def unban_account(account_id: str, by: By = "", reason: Reason = "") -> dict[str, Any]:
        """Make it what it was before its ban; one that is not banned stays as it is."""
        stored = await existing(account_id)
        if stored.status is Status.BANNED:
            stored = await directory.put(unbanned(stored), None)
            target = f"{account_id} status={stored.status.value}"
            context.audit("account.unban", target, by=by, reason=reason)
        return show(stored)

    @app.delete("/api/accounts/{account_id:path}", status_code=204)
    async def erase_account(account_id: str, by: By = "", reason: Reason = "") -> None:
        """Forget account, keys, counters and the mapping of its pseudonym in the logs."""
        if not await directory.remove(account_id):
            raise HTTPException(404, "no such account")
        context.audit("account.erase", account_id, by=by, reason=reason)


async def _write(
    context: AdminContext,
    change: AccountChange,
    base: Subject | None,
    action: str,
    *,
    by: str,
    reason: str,
) -> dict[str, Any]:
    """The account as it is stored now, and from whom it took keys."""
    moved: dict[str, str] = {}
    stored = await context.directory.put(
        change.apply(base), change.credentials_for(base), on_move=moved.__setitem__
    )
    taken = [f"{key_id} from {former}" for key_id, former in moved.items()]
    target = " ".join([change.account_id, *_what(change), *taken])
    context.audit(action, target, by=by, reason=reason)
    return show(stored) | ({"moved_keys": moved} if moved else {})


def _warnings(records: RecordReader, record: object) -> dict[str, list[str]]:
    warnings = [text for _, text in records.idle_quotas(record)]
    return {"warnings": warnings} if warnings else {}


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


def show(subject: Subject) -> dict[str, Any]:
    """A subject as operators read it: names for levels, no empty fields left out."""
    shown: dict[str, Any] = orjson.loads(orjson.dumps(subject))
    shown["grants"] = [
        {
            "level": grant.level.name.lower(),
            "granted_us": grant.granted_us,
            "expires_us": grant.expires_us,
        }
        for grant in subject.grants
    ]
    return shown


def _what(change: AccountChange) -> list[str]:
    """Which fields, and of a ban that it is one; other values may be personal."""
    status = change.fields.get("status")
    names = sorted(change.fields.keys() - {"status"})
    names += ["keys"] if change.credentials else []
    return [*([f"status={status.value}"] if status is not None else []), *names]


def _named(record: object, account_id: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise RecordError("a record is a JSON object")
    if record.get("account_id", account_id) != account_id:
        raise RecordError("account_id: the record names another account than the path")
    for _, text in unknown_fields(record):  # a person changes one account: a typo must not pass
        raise RecordError(text)
    return {**record, "account_id": account_id}


def _changes(
    body: bytes, source: str, records: RecordReader, report: ImportReport
) -> list[AccountChange]:
    changes = []
    for number, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
            changes.append(replace(records.read(record), source=source, line=number))
        except orjson.JSONDecodeError as error:
            report.add(Problem(source, number, "", f"is no JSON: {error}"))
        except RecordError as error:
            report.add(Problem(source, number, "", str(error)))
        else:
            report.note_doubts(source, number, records.doubts(record))
    return changes


def _mode_text(shadow_all: bool) -> str:
    return "shadow-all" if shadow_all else "normal"
