"""The admin API on clusters: questions and orders to whichever process leads the linker.

Orders name who gives them and why, and go into the audit log before they are sent.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse

from ..workers.cluster_behaviour import ClusterBehaviour
from ..workers.cluster_desk import ClusterDesk, NoAnswerError
from ..workers.linker_orders import MAX_ACCOUNTS_SHOWN, MAX_LISTED

ById = Annotated[str, Body(min_length=1, max_length=128)]
Who = Annotated[str, Body(min_length=1, max_length=200)]
Why = Annotated[str, Body(min_length=1, max_length=1_000)]
MAX_SPLIT = 10_000
MAX_IMPORTED = 10_000


def add_clusters(app: FastAPI, desk: ClusterDesk, behaviour: ClusterBehaviour) -> None:
    _add_questions(app, desk, behaviour)
    _add_orders(app, desk)
    _add_linker(app, desk)

    @app.exception_handler(NoAnswerError)
    async def unanswered(_: Request, error: NoAnswerError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503)

    @app.exception_handler(OSError)
    async def unaudited(_: Request, error: OSError) -> JSONResponse:
        detail = f"nothing was done: the audit log cannot be written: {error.strerror or error}"
        return JSONResponse({"detail": detail}, 503)


def _add_questions(app: FastAPI, desk: ClusterDesk, behaviour: ClusterBehaviour) -> None:
    @app.get("/api/clusters")
    async def list_clusters(
        state: Annotated[str | None, Query(pattern="watched|suspected|confirmed|dismissed")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 100,
    ) -> dict[str, Any]:
        """By impact: suspected ones first, then by score times accounts."""
        return sound(await desk.ask("list", state=state, limit=limit))

    @app.get("/api/clusters/decisions")
    async def export_decisions() -> dict[str, Any]:
        return sound(await desk.ask("export"))

    @app.get("/api/clusters/{cluster_id}")
    async def show_cluster(
        cluster_id: str,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_ACCOUNTS_SHOWN)] = 1_000,
    ) -> dict[str, Any]:
        return await shown(desk, behaviour, cluster_id, offset, limit)


def _add_orders(app: FastAPI, desk: ClusterDesk) -> None:
    @app.post("/api/clusters/{cluster_id}/confirm")
    async def confirm(cluster_id: str, by: Who, reason: Why) -> dict[str, Any]:
        answer = await desk.order(
            "confirm", cluster_id, by=by, reason=reason, cluster_id=cluster_id
        )
        return sound(answer)

    @app.post("/api/clusters/{cluster_id}/dismiss")
    async def dismiss(cluster_id: str, by: Who, reason: Why) -> dict[str, Any]:
        answer = await desk.order(
            "dismiss", cluster_id, by=by, reason=reason, cluster_id=cluster_id
        )
        return sound(answer)

    @app.post("/api/clusters/{cluster_id}/split")
    async def split(
        cluster_id: str,
        by: Who,
        reason: Why,
        accounts: Annotated[list[str], Body(min_length=1, max_length=MAX_SPLIT)],
    ) -> dict[str, Any]:
        """Those accounts become a cluster of their own."""
        answer = await desk.order(
            "split", cluster_id, by=by, reason=reason, cluster_id=cluster_id, accounts=accounts
        )
        return sound(answer)

    @app.post("/api/clusters/pin")
    async def pin(
        account_id: ById,
        by: Who,
        reason: Why,
        cluster_id: Annotated[str | None, Body(max_length=128)] = None,
    ) -> dict[str, Any]:
        """The account belongs to that cluster; null: to none, whatever links it."""
        answer = await desk.order(
            "pin", account_id, by=by, reason=reason, account_id=account_id, cluster_id=cluster_id
        )
        return sound(answer)

    @app.post("/api/clusters/decisions")
    async def import_decisions(
        by: Who,
        reason: Why,
        decisions: Annotated[list[dict[str, Any]], Body(max_length=MAX_IMPORTED)],
    ) -> JSONResponse:
        answer = await desk.order(
            "import", f"{len(decisions)} decisions", by=by, reason=reason, decisions=decisions
        )
        return JSONResponse(sound(answer), 422 if answer["problems"] else 200)


def _add_linker(app: FastAPI, desk: ClusterDesk) -> None:
    @app.get("/api/linker")
    async def linker_status() -> dict[str, Any]:
        return await linker_shown(desk)

    @app.put("/api/linker/frozen")
    async def freeze(
        frozen: Annotated[bool, Body()], by: Who, reason: Annotated[str, Body(max_length=1_000)]
    ) -> dict[str, Any]:
        """While frozen nobody is linked anew; what is published stays in force."""
        return sound(
            await desk.order("freeze" if frozen else "thaw", "linker", by=by, reason=reason)
        )

    @app.post("/api/linker/undo")
    async def undo(since_us: Annotated[int, Body(ge=0)], by: Who, reason: Why) -> dict[str, Any]:
        """Take back what was linked by machine since that instant."""
        return sound(
            await desk.order("undo", f"since {since_us}", by=by, reason=reason, since_us=since_us)
        )


async def shown(
    desk: ClusterDesk, behaviour: ClusterBehaviour, cluster_id: str, offset: int, limit: int
) -> dict[str, Any]:
    """A cluster with what its accounts do, of those shown. Raises as `sound` does."""
    answer = sound(await desk.ask("show", cluster_id=cluster_id, offset=offset, limit=limit))
    return answer | {"behaviour": await behaviour.of(answer["accounts"], size=answer["size"])}


async def linker_shown(desk: ClusterDesk) -> dict[str, Any]:
    """The linker's last status, None before one has led, and how far it is behind."""
    status, lag_s = await desk.status()
    said = {} if status is None else {n: getattr(status, n) for n in status.__struct_fields__}
    return {"status": said or None, "lag_s": lag_s}


def sound(answer: dict[str, Any]) -> dict[str, Any]:
    """Raises HTTPException with what a linker said was wrong."""
    if "error" in answer:
        raise HTTPException(int(answer.get("code", 422)), answer["error"])
    return answer
