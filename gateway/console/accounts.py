"""The admin API on accounts, in the form of CONTRACTS §3; raw keys in records are hashed on arrival
and appear in no answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import orjson
from fastapi import Body, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse

from ..errors import Problem
from ..model import Status, Subject
from ..workers.account_changes import AccountChange, unbanned
from ..workers.account_import import ImportReport, import_accounts
from ..workers.account_records import RecordError, RecordReader, unknown_fields
from .context import AdminContext

MAX_PAGE = 1_000
MAX_CURSOR_CHARS = 400

By = Annotated[str, Query(max_length=200)]
Reason = Annotated[str, Query(max_length=1_000)]
Source = Annotated[str, Query(max_length=400)]


def add_accounts(app: FastAPI, context: AdminContext) -> None:
    _add_all(app, context)
    _add_one(app, context)


def _add_all(app: FastAPI, context: AdminContext) -> None:
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


def _add_one(app: FastAPI, context: AdminContext) -> None:
    directory = context.directory

    @app.get("/api/accounts/{account_id:path}")
    async def show_account(account_id: str) -> dict[str, Any]:
        return await shown(context, account_id)

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
        stored = await _existing(context, account_id)
        written = await _write(context, change, stored, "account.patch", by=by, reason=reason)
        return written | _warnings(context.records, record)

    @app.post("/api/accounts/{account_id:path}/unban")
    async def unban_account(account_id: str, by: By = "", reason: Reason = "") -> dict[str, Any]:
        """Make it what it was before its ban; one that is not banned stays as it is."""
        return show(await unban(context, account_id, by=by, reason=reason))

    @app.delete("/api/accounts/{account_id:path}", status_code=204)
    async def erase_account(account_id: str, by: By = "", reason: Reason = "") -> None:
        """Forget account, keys, counters and the mapping of its pseudonym in the logs."""
        if not await directory.remove(account_id):
            raise HTTPException(404, "no such account")
        context.audit("account.erase", account_id, by=by, reason=reason)


async def shown(context: AdminContext, account_id: str) -> dict[str, Any]:
    """An account with the ids of its keys. Raises HTTPException 404 for no such account."""
    subject = await _existing(context, account_id)
    key_ids = sorted((await context.directory.keys(account_id)).values())
    return show(subject) | {"key_ids": key_ids}


async def ban(context: AdminContext, account_id: str, *, by: str, reason: str) -> None:
    """Raises HTTPException 404 for no such account."""
    stored = await _existing(context, account_id)
    change = context.records.read({"account_id": account_id, "status": Status.BANNED.value})
    await _write(context, change, stored, "account.patch", by=by, reason=reason)


async def unban(context: AdminContext, account_id: str, *, by: str, reason: str) -> Subject:
    """As it is then. Raises HTTPException 404 for no such account."""
    stored = await _existing(context, account_id)
    if stored.status is Status.BANNED:
        stored = await context.directory.put(unbanned(stored), None)
        target = f"{account_id} status={stored.status.value}"
        context.audit("account.unban", target, by=by, reason=reason)
    return stored


async def _existing(context: AdminContext, account_id: str) -> Subject:
    subject = await context.directory.get(account_id)
    if subject is None:
        raise HTTPException(404, "no such account")
    return subject


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
