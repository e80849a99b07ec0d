"""What is known of the accounts that act together with this one; None while unlinked."""

from __future__ import annotations

from ..core.cluster import known_before_us
from ..model import SECOND_US, RequestFacts, Subject
from ..registry import signal


@signal("cluster_id", type=str)
def cluster_id(facts: RequestFacts, subject: Subject) -> str | None:
    """The cluster that the account was linked to; None while unlinked."""
    return subject.cluster_id


@signal("cluster_state", type=str)
def cluster_state(facts: RequestFacts, subject: Subject) -> str | None:
    """watched, suspected, confirmed or dismissed; None while unlinked."""
    return subject.cluster_state


@signal("cluster_size", type=int, low=0)
def cluster_size(facts: RequestFacts, subject: Subject) -> int | None:
    """Accounts linked to this one, itself included; None while unlinked."""
    return subject.cluster_size


@signal("suspicion", type=float, low=0, high=1)
def suspicion(facts: RequestFacts, subject: Subject) -> float | None:
    """Suspicion of the cluster, 0..1; None while unlinked."""
    return subject.suspicion


@signal("known_before_cluster_s", type=int)
def known_before_cluster_s(facts: RequestFacts, subject: Subject) -> int | None:
    """Seconds by which the account, or its verified payment or identity, is older than the first
    evidence of the cluster; negative for what came later; None while unlinked or not recorded."""
    before_us = known_before_us(subject)
    return None if before_us is None else before_us // SECOND_US
