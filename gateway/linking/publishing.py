"""What is told of clusters: to the accounts in them, once for each change, and to people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

from ..model import SECOND_US
from .clusters import CONFIRMED, DISMISSED, Cluster
from .state import State

USED_BEFORE_US = 7 * 86_400 * SECOND_US


@dataclass(frozen=True, slots=True)
class Publication:
    """What an account's subject says from now on; all None: in no cluster.

    `since_us` is the first evidence of the cluster, told only of a member that had been at work for
    `USED_BEFORE_US` by then: an account that was opened long ago and lay ready is no old customer.
    """

    account_id: str
    cluster_id: str | None
    state: str | None
    size: int | None
    suspicion: float | None
    since_us: int | None = None


NOWHERE = (None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster for people and for `clusters.jsonl`. `families` in nats."""

    cluster_id: str
    state: str
    accounts: tuple[str, ...]
    first_seen_us: int
    suspected_us: int | None
    score: float
    families: Mapping[str, float]
    why: tuple[str, ...]


def publications(state: State, suspect_nats: float) -> list[Publication]:
    """Of accounts that moved, and of whole clusters of which something else is to be said."""
    clusters = state.clusters
    moved, clusters.moved = clusters.moved, set()
    for cluster in clusters.by_id.values():
        said = (cluster.state, _rounded(len(cluster.members)), _suspicion(cluster, suspect_nats))
        if state.said.get(cluster.cluster_id) != said:
            state.said[cluster.cluster_id] = said
            moved |= cluster.members.keys()
    found: list[Publication] = []
    for number in sorted(moved):
        account = state.graph.accounts.get(number)
        if account is None:
            state.published.pop(number, None)
            continue
        says = _of(state, number, suspect_nats)
        if state.published.get(number, NOWHERE) != says:
            state.published[number] = says
            found.append(Publication(account.account_id, *says))
    return found


def view_of(state: State, cluster: Cluster) -> ClusterView:
    accounts = state.graph.accounts
    names = sorted(accounts[n].account_id for n in cluster.members if n in accounts)
    return ClusterView(
        cluster.cluster_id,
        cluster.state,
        tuple(names),
        cluster.first_us,
        cluster.suspected_us,
        round(cluster.score, 1),
        dict(sorted(cluster.families.items())),
        tuple(cluster.why),
    )


def _of(state: State, number: int, suspect_nats: float) -> tuple[Any, ...]:
    cluster_id = state.clusters.of_account.get(number)
    if cluster_id is None:
        return NOWHERE
    cluster = state.clusters.by_id[cluster_id]
    size = _rounded(len(cluster.members))
    first_us = state.graph.accounts[number].first_us
    since_us = cluster.first_us if first_us <= cluster.first_us - USED_BEFORE_US else None
    return (cluster_id, cluster.state, size, _suspicion(cluster, suspect_nats), since_us)


def _suspicion(cluster: Cluster, suspect_nats: float) -> float:
    """0..1: one half where a cluster becomes suspected; what people decided is certain."""
    if cluster.state == CONFIRMED:
        return 1.0
    if cluster.state == DISMISSED:
        return 0.0
    return round(1 - exp(-log(2) * cluster.score / suspect_nats), 2)


def _rounded(size: int) -> int:
    """Two leading digits, so that a growing cluster is not published anew for each member."""
    if size < 100:
        return size
    unit: int = 10 ** (len(str(size)) - 2)
    return size // unit * unit
