"""What people ask of the linker and order it to do, one function an action.

An order carries who gave it, why and when. A refusal to obey is an answer (`error`), not an
exception; nothing was changed then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..linking.linker import Linker
from ..linking.publishing import ClusterView, Publication
from ..stores.mailbox import Letter
from .linker_state import Progress

MAX_LISTED = 1_000
MAX_ACCOUNTS_SHOWN = 10_000
STATES = ("watched", "suspected", "confirmed", "dismissed")
_ORDER = {state: rank for rank, state in enumerate(("suspected", "watched", "confirmed"))}

Answer = dict[str, Any]


class OrderError(ValueError):
    """The order cannot be obeyed; the message says what to do. `code` is an HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Action:
    """`changes`: it is an order, and holds before it is answered."""

    run: Callable[[Linker, Progress, Letter], Answer]
    changes: bool


def obey(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    """The answer: `{"error", "code"}` when nothing was done."""
    action = ACTIONS.get(letter.action)
    if action is None:
        return {"error": f"this linker knows no '{letter.action}'", "code": 422}
    try:
        return action.run(linker, progress, letter)
    except OrderError as error:
        return {"error": str(error), "code": error.code}
    except KeyError as error:
        return {"error": f"no such cluster or account: {error.args[0]}", "code": 404}
    except (ValueError, TypeError) as error:
        return {"error": str(error), "code": 422}


# ── questions ────────────────────────────────────────────────────────────────────────────────


def _list(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    """By impact: what waits for a decision first, then by score times accounts."""
    state, most = letter.args.get("state"), int(letter.args.get("limit", 100))
    found = [view for view in linker.clusters() if state is None or view.state == state]
    found.sort(key=_impact)
    shown = [_summary(view) for view in found[: min(most, MAX_LISTED)]]
    return {"clusters": shown, "total": len(found), "frozen": progress.is_frozen}


def _impact(view: ClusterView) -> tuple[int, float, str]:
    return _ORDER.get(view.state, 9), -view.score * len(view.accounts), view.cluster_id


def _summary(view: ClusterView) -> Answer:
    return {
        "cluster_id": view.cluster_id,
        "state": view.state,
        "size": len(view.accounts),
        "score": view.score,
        "first_seen_us": view.first_seen_us,
        "families": dict(view.families),
        "why": list(view.why)[:1],
    }


def _show(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    """One cluster with its accounts, `MAX_ACCOUNTS_SHOWN` at most from `offset` on, what was
    decided about it and how many of its accounts' records are still to be written."""
    view = _cluster(linker, str(letter.args["cluster_id"]))
    offset, most = int(letter.args.get("offset", 0)), int(letter.args.get("limit", 1_000))
    accounts = list(view.accounts)
    shown = accounts[offset : offset + min(most, MAX_ACCOUNTS_SHOWN)]
    return _summary(view) | {
        "why": list(view.why),
        "accounts": shown,
        "decisions": [one for one in linker.decisions() if _concerns(one, view.cluster_id)],
        "unpublished": sum(account in progress.unpublished for account in accounts),
    }


def _concerns(decision: Answer, cluster_id: str) -> bool:
    return any(value == cluster_id for value in decision.values())


def _cluster(linker: Linker, cluster_id: str) -> ClusterView:
    for view in linker.clusters():
        if view.cluster_id == cluster_id:
            return view
    raise OrderError(404, f"no cluster {cluster_id}: it may have merged; see the list")


def _export(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    return {"decisions": linker.decisions()}


# ── orders ───────────────────────────────────────────────────────────────────────────────────


def _confirm(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    _need_reason(letter)
    cluster_id = str(letter.args["cluster_id"])
    linker.confirm(cluster_id, by=letter.by, reason=letter.reason, now_us=letter.at_us)
    return {"cluster_id": cluster_id, "state": "confirmed"}


def _dismiss(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    _need_reason(letter)
    cluster_id = str(letter.args["cluster_id"])
    linker.dismiss(cluster_id, by=letter.by, reason=letter.reason, now_us=letter.at_us)
    return {"cluster_id": cluster_id, "state": "dismissed"}


def _split(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    _need_reason(letter)
    accounts = [str(account) for account in letter.args["accounts"]]
    if not accounts:
        raise OrderError(422, "accounts: name at least one")
    made = linker.split(
        str(letter.args["cluster_id"]),
        accounts,
        by=letter.by,
        reason=letter.reason,
        now_us=letter.at_us,
    )
    return {"cluster_id": made, "accounts": len(accounts)}


def _pin(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    _need_reason(letter)
    account_id, cluster_id = str(letter.args["account_id"]), letter.args.get("cluster_id")
    target = None if cluster_id is None else str(cluster_id)
    linker.pin(account_id, target, by=letter.by, reason=letter.reason, now_us=letter.at_us)
    if target is None:  # also where an earlier state, since lost, had published something
        progress.await_publication([Publication(account_id, None, None, None, None)])
    return {"account_id": account_id, "cluster_id": target}


def _freeze(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    _need_reason(letter)
    linker.is_frozen = progress.is_frozen = True
    return {"frozen": True}


def _thaw(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    linker.is_frozen = progress.is_frozen = False
    return {"frozen": False}


def _undo(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    _need_reason(letter)
    since_us = int(letter.args["since_us"])
    if since_us > letter.at_us:
        raise OrderError(422, "since: lies in the future")
    undone = linker.undo_since(since_us, by=letter.by, now_us=letter.at_us)
    return {"undone": undone, "since_us": since_us}


def _import(linker: Linker, progress: Progress, letter: Letter) -> Answer:
    records = letter.args["decisions"]
    if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
        raise OrderError(422, "decisions: a list of objects, as export prints them")
    problems = linker.import_decisions(records)
    return {"imported": len(records) - len(problems), "problems": problems[:MAX_LISTED]}


def _need_reason(letter: Letter) -> None:
    if not letter.reason.strip():
        raise OrderError(422, "reason: say why; who reads this later has only that")
    if not letter.by.strip():
        raise OrderError(422, "by: say who decides")


ACTIONS = {
    "list": Action(_list, changes=False),
    "show": Action(_show, changes=False),
    "export": Action(_export, changes=False),
    "confirm": Action(_confirm, changes=True),
    "dismiss": Action(_dismiss, changes=True),
    "split": Action(_split, changes=True),
    "pin": Action(_pin, changes=True),
    "freeze": Action(_freeze, changes=True),
    "thaw": Action(_thaw, changes=True),
    "undo": Action(_undo, changes=True),
    "import": Action(_import, changes=True),
}
