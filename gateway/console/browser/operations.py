"""What pages show and forms order, done as the admin API does it."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from .. import accounts, clusters, verifications
from ..context import AdminContext

MAX_APPEALS = 100


class AdminOperations:
    """`site.Operations` on what the admin API works with."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    async def status(self) -> dict[str, Any]:
        return await self._context.status()

    async def linker(self) -> tuple[dict[str, Any] | None, float | None]:
        found = await clusters.linker_shown(self._context.desk)
        return found["status"], found["lag_s"]

    async def is_shadow_all(self) -> bool:
        return await self._context.directory.is_shadow_all()

    async def clusters(self, state: str | None, limit: int) -> dict[str, Any]:
        return clusters.sound(await self._context.desk.ask("list", state=state, limit=limit))

    async def cluster(self, cluster_id: str, offset: int, limit: int) -> dict[str, Any]:
        context = self._context
        return await clusters.shown(context.desk, context.behaviour, cluster_id, offset, limit)

    async def decide(self, act: str, cluster_id: str, *, by: str, reason: str) -> None:
        desk = self._context.desk
        answer = await desk.order(act, cluster_id, by=by, reason=reason, cluster_id=cluster_id)
        clusters.sound(answer)

    async def set_frozen(self, is_frozen: bool, *, by: str, reason: str) -> None:
        act = "freeze" if is_frozen else "thaw"
        clusters.sound(await self._context.desk.order(act, "linker", by=by, reason=reason))

    async def account(self, account_id: str) -> dict[str, Any]:
        return await accounts.shown(self._context, account_id)

    async def set_banned(self, account_id: str, is_banned: bool, *, by: str, reason: str) -> None:
        if is_banned:
            await accounts.ban(self._context, account_id, by=by, reason=reason)
        else:
            await accounts.unban(self._context, account_id, by=by, reason=reason)

    async def set_shadow_all(self, wanted: bool, *, by: str, reason: str) -> None:
        await self._context.directory.set_shadow_all(wanted)
        mode = "shadow-all" if wanted else "normal"
        self._context.audit("mode.set", mode, by=by, reason=reason)

    async def decision(self, decision_id: str) -> dict[str, Any]:
        found = await self._context.explain(decision_id)
        if found is None:
            raise HTTPException(404, "There is no such decision in the log that is kept here.")
        return found

    async def appeals(self) -> list[dict[str, Any]]:
        return await verifications.waiting_appeals(self._verifications(), MAX_APPEALS)

    async def answer_appeal(self, account_id: str, text: str, *, by: str) -> None:
        await verifications.answer_appeal(self._verifications(), account_id, text, by=by)

    def _verifications(self) -> verifications.VerificationContext:
        found = self._context.verifications
        if found is None:
            raise HTTPException(404, "Verification is not set up here: nobody can appeal.")
        return found
