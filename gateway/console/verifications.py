"""The admin API on verifications: grants, appeals, and news that could not be delivered."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import msgspec
import orjson
from fastapi import Body, FastAPI, HTTPException, Query
from fastapi.responses import StreamingResponse

from ..friction.record import Record
from ..model import SECOND_US, Level
from ..ports import Directory
from ..stores.verification import MAX_APPEALS, MAX_DEAD, VerificationBook
from ..workers.verification_orders import VerificationOrders
from ..workers.verification_rounds import VerificationRounds

Id = Annotated[str, Body(min_length=1, max_length=256)]
Who = Annotated[str, Body(min_length=1, max_length=200)]
Why = Annotated[str, Body(min_length=1, max_length=1_000)]
LevelName = Literal["email", "phone", "payment", "identity", "organization"]
MAX_IMPORTED = 10_000


class Audit(Protocol):
    def __call__(self, action: str, target: str, *, by: str, reason: str, outcome: str) -> None:
        """Raises OSError when it cannot be written."""
        ...


@dataclass(frozen=True, slots=True)
class VerificationContext:
    directory: Directory
    orders: VerificationOrders
    rounds: VerificationRounds
    audit: Audit

    @property
    def book(self) -> VerificationBook:
        return self.orders.book


def add_verifications(app: FastAPI, context: VerificationContext) -> None:
    _add_views(app, context)
    _add_orders(app, context)
    _add_import(app, context)
    _add_appeals(app, context)
    _add_dead(app, context)


def add_no_verifications(app: FastAPI) -> None:
    """Where nobody is verified the same paths say so, instead of that there are none."""

    @app.api_route("/api/appeals{rest:path}", methods=["GET", "POST"])
    @app.api_route("/api/verifications{rest:path}", methods=["GET", "POST"])
    async def not_set_up(rest: str) -> None:
        raise HTTPException(
            404, "verification is not set up: `verification:` in the settings; docs/verification.md"
        )


def _add_views(app: FastAPI, context: VerificationContext) -> None:
    @app.get("/api/verifications")
    async def export() -> StreamingResponse:
        """Every account's grants, one JSON object a line; `import` reads it."""
        return StreamingResponse(_grants(context.directory), media_type="application/x-ndjson")

    @app.get("/api/verifications/account")
    async def show(account_id: Annotated[str, Query(max_length=256)]) -> dict[str, Any]:
        return await _shown(context, account_id)


async def _shown(context: VerificationContext, account_id: str) -> dict[str, Any]:
    """Raises HTTPException 404 for no such account."""
    entry = await context.book.read(account_id)
    if entry is None:
        raise HTTPException(404, "no such account")
    shown = grants_of(entry.subject.account_id, entry.subject.grants)
    sharing = {proof: await context.book.holders(proof) for proof in entry.subject.proofs}
    return shown | {
        "asked_us": entry.subject.asked_us,
        "under_way": _under_way(entry.record),
        "proofs": sharing,
    }


def _add_orders(app: FastAPI, context: VerificationContext) -> None:
    @app.post("/api/verifications/grant")
    async def grant(
        account_id: Id,
        level: Annotated[LevelName, Body()],
        by: Who,
        reason: Why,
        expires_at: Annotated[int | None, Body(ge=0)] = None,
    ) -> dict[str, Any]:
        """`expires_at`: Unix seconds; null for ever."""
        expires_us = None if expires_at is None else expires_at * SECOND_US
        target = f"{account_id} {level}"
        context.audit("verification.grant", target, by=by, reason=reason, outcome="asked")
        done = await context.orders.grant(
            account_id, Level[level.upper()], expires_us=expires_us, event_id=secrets.token_hex(12)
        )
        if not done:
            raise HTTPException(404, "no such account")
        context.audit("verification.grant", target, by=by, reason=reason, outcome="done")
        return await _shown(context, account_id)

    @app.post("/api/verifications/revoke")
    async def revoke(
        account_id: Id, level: Annotated[LevelName, Body()], by: Who, reason: Why
    ) -> dict[str, Any]:
        target = f"{account_id} {level}"
        context.audit("verification.revoke", target, by=by, reason=reason, outcome="asked")
        done = await context.orders.revoke(
            account_id, Level[level.upper()], event_id=secrets.token_hex(12)
        )
        if not done:
            raise HTTPException(404, "no such account, or no such grant")
        context.audit("verification.revoke", target, by=by, reason=reason, outcome="done")
        return await _shown(context, account_id)


def _add_import(app: FastAPI, context: VerificationContext) -> None:
    @app.post("/api/verifications/import")
    async def import_grants(
        by: Who,
        reason: Why,
        accounts: Annotated[list[dict[str, Any]], Body(max_length=MAX_IMPORTED)],
    ) -> dict[str, Any]:
        """What `export` printed. Live grants that an account has not got are given; told again,
        nothing is given twice."""
        target = f"{len(accounts)} accounts"
        context.audit("verification.import", target, by=by, reason=reason, outcome="asked")
        given, problems = 0, []
        for number, line in enumerate(accounts, 1):
            try:
                given += await context.orders.import_grants(line)
            except ValueError as error:
                problems.append(f"{number}: {error}")
        outcome = f"{given} given, {len(problems)} bad"
        context.audit("verification.import", target, by=by, reason=reason, outcome=outcome)
        return {"granted": given, "problems": problems}


async def _grants(directory: Directory) -> AsyncIterator[bytes]:
    async for subject in directory.accounts():
        if subject.grants:
            line = grants_of(subject.account_id, subject.grants) | {"proofs": list(subject.proofs)}
            yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def grants_of(account_id: str, grants: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "grants": [
            {
                "level": one.level.name.lower(),
                "granted_us": one.granted_us,
                "expires_us": one.expires_us,
            }
            for one in grants
        ],
    }


def _under_way(record: Record) -> dict[str, Any]:
    shown = {name: getattr(record, name) for name in record.__struct_fields__}
    return {
        "level": Level(record.level).name.lower(),
        "rule": record.rule,
        "started_us": record.started_us,
        "code_sent_to": None if record.code is None else record.code.shown,
        "sessions": [one.provider for one in record.sessions],
        "untold": [one.id for one in record.outbox],
        "appeal": None if shown["appeal"] is None else msgspec.structs.asdict(shown["appeal"]),
    }


def _add_appeals(app: FastAPI, context: VerificationContext) -> None:
    @app.get("/api/appeals")
    async def appeals(
        limit: Annotated[int, Query(ge=1, le=MAX_APPEALS)] = 100,
    ) -> dict[str, Any]:
        """Those that wait for an answer, the longest first."""
        return {"appeals": await waiting_appeals(context, limit)}

    @app.post("/api/appeals/answer")
    async def answer(account_id: Id, text: Why, by: Who) -> dict[str, Any]:
        """The caller reads it on the page. Granting is an order of its own."""
        await answer_appeal(context, account_id, text, by=by)
        return {"account_id": account_id, "answered": True}


async def waiting_appeals(context: VerificationContext, limit: int) -> list[dict[str, Any]]:
    """At most `limit`, the longest first."""
    found = []
    for account_id in await context.book.appeals(most=limit):
        entry = await context.book.read(account_id)
        if entry is not None and entry.record.appeal is not None:
            appeal = entry.record.appeal
            found.append({"account_id": account_id, "text": appeal.text, "at_us": appeal.at_us})
    return found


async def answer_appeal(
    context: VerificationContext, account_id: str, text: str, *, by: str
) -> None:
    """Raises HTTPException 404 where nobody has appealed."""
    context.audit("appeal.answer", account_id, by=by, reason=text, outcome="asked")
    if not await context.orders.answer_appeal(account_id, text):
        raise HTTPException(404, "nobody has appealed for this account")
    context.audit("appeal.answer", account_id, by=by, reason=text, outcome="done")


def _add_dead(app: FastAPI, context: VerificationContext) -> None:
    @app.get("/api/verifications/dead")
    async def dead() -> dict[str, Any]:
        found = await context.book.dead(most=MAX_DEAD)
        return {"news": [orjson.loads(body) for _, body in found]}

    @app.post("/api/verifications/dead/retry")
    async def retry() -> dict[str, Any]:
        """All of it, once, as far as half a minute goes; what fails again stays."""
        delivered = await context.rounds.retell_dead()
        return {"delivered": delivered, "left": await context.book.dead_count()}
