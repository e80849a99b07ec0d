"""What people decide of clusters: confirm, dismiss, split, pin, undo; remembered and repeatable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .clusters import CONFIRMED, DISMISSED
from .state import State

_PASSED_OVER = {
    "split": "a split names a cluster that is another one here; split again if it comes together",
    "pin": "a pin into a cluster names one that is another here; pin again once it is found",
    "undo": "what an undo took back is not here; nothing needs to be done",
}

_FORM = {"decision": str, "accounts": list, "by": str, "reason": str, "at_us": int}
_KIND_TEXTS = {str: "text", list: "a list", int: "a whole number"}


def decide(
    state: State, cluster_id: str, verdict: str, *, by: str, reason: str, now_us: int
) -> None:
    """`verdict` is confirmed or dismissed. Raises KeyError for no such cluster."""
    cluster = state.clusters.by_id[cluster_id]
    cluster.state, cluster.decided_by = verdict, by
    accounts = state.graph.accounts
    names = sorted(accounts[n].account_id for n in cluster.members if n in accounts)
    _note(state, verdict, cluster_id, by, reason, now_us, names)


def split(
    state: State,
    cluster_id: str,
    account_ids: Sequence[str],
    *,
    by: str,
    reason: str,
    now_us: int,
) -> str:
    """These accounts become a watched cluster of their own, pinned there; its id. Raises
    KeyError for no such cluster, ValueError where none of the accounts is in it."""
    cluster = state.clusters.by_id[cluster_id]
    found = [state.graph.find(account_id) for account_id in account_ids]
    numbers = [number for number in found if number is not None and number in cluster.members]
    if not numbers:
        raise ValueError(f"none of these accounts is in {cluster_id}")
    apart = state.clusters.found(now_us)
    apart.why = [f"Split from {cluster_id}: {reason}"]
    for number in numbers:
        state.clusters.pinned[number] = apart.cluster_id
        state.clusters.join(apart, number, now_us)
    _note(state, "split", cluster_id, by, reason, now_us, list(account_ids))
    return apart.cluster_id


def pin(
    state: State, account_id: str, cluster_id: str | None, *, by: str, reason: str, now_us: int
) -> None:
    """Keep an account in a cluster, or out of all (None). Raises KeyError for no such cluster."""
    cluster = None if cluster_id is None else state.clusters.by_id[cluster_id]
    number = state.graph.account(account_id, now_us)
    state.clusters.pinned[number] = cluster_id
    if cluster is None:
        state.clusters.leave(number)
    else:
        state.clusters.join(cluster, number, now_us)
    _note(state, "pin", cluster_id, by, reason, now_us, [account_id])


def undo_since(state: State, at_us: int, *, by: str, now_us: int) -> int:
    """Take back what evidence alone has joined since then; how many accounts left."""
    numbers = list(state.clusters.joined_since(at_us))
    for number in numbers:
        state.clusters.leave(number)
    _note(state, "undo", None, by, f"since {at_us}", now_us, [])
    return len(numbers)


def import_decisions(state: State, records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Repeat decisions that were exported, by their accounts; returns what could not be, and what
    was passed over because it names a cluster or an instant of the linker that exported it."""
    problems = []
    for position, record in enumerate(records):
        try:
            _repeat(state, record)
        except (KeyError, ValueError, TypeError) as error:
            problems.append(f"decision {position}: {error}")
    return problems


def _repeat(state: State, record: Mapping[str, Any]) -> None:
    """A split or a pin into a cluster names a cluster that is another one here, so only what
    names accounts alone is repeated. Raises ValueError for the others, which says what to do."""
    lacking = [name for name in _FORM if name not in record]
    if lacking:
        raise ValueError(f"lacks {', '.join(lacking)}")
    for name, kind in _FORM.items():
        if not isinstance(record[name], kind):
            raise ValueError(f"{name}: must be {_KIND_TEXTS[kind]}")
    if not all(isinstance(name, str) for name in record["accounts"]):
        raise ValueError("accounts: must be a list of texts")
    decision, now_us = record["decision"], record["at_us"]
    by, reason = record["by"], record["reason"]
    if decision == "pin" and record.get("cluster_id") is None:
        for account_id in record["accounts"]:
            pin(state, account_id, None, by=by, reason=reason, now_us=now_us)
    elif decision in (CONFIRMED, DISMISSED):
        numbers = {state.graph.account(name, now_us) for name in record["accounts"]}
        cluster = state.clusters.home_of(numbers, now_us)
        for number in sorted(numbers):
            state.clusters.join(cluster, number, now_us)
        decide(state, cluster.cluster_id, decision, by=by, reason=reason, now_us=now_us)
    elif decision in _PASSED_OVER:
        raise ValueError(f"passed over: {_PASSED_OVER[decision]}")
    else:
        raise ValueError(f"no such decision: {decision}")


def _note(
    state: State,
    decision: str,
    cluster_id: str | None,
    by: str,
    reason: str,
    now_us: int,
    accounts: list[str],
) -> None:
    state.decisions.append(
        {
            "decision": decision,
            "cluster_id": cluster_id,
            "accounts": accounts,
            "by": by,
            "reason": reason,
            "at_us": now_us,
        }
    )
