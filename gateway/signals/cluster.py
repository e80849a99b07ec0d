"""What is known of the accounts that act together with this one; None while unlinked."""

from __future__ import annotations

from ..model import RequestFacts, Subject
from ..registry import signal


@signal("cluster_id", type=str)
def cluster_id(facts: RequestFacts, subject: Subject) -> str | None:
    """The cluster that the account was linked to; None while unlinked."""
    return subject.cluster_id


@signal("cluster_state", type=str)
def cluster_state(facts: RequestFacts, subject: Subject) -> str | None:
    """watched, suspected, confirmed or dismissed; None while unlinked."""
    return subject.cluster_state


@signal("cluster_size", type=int)
def cluster_size(facts: RequestFacts, subject: Subject) -> int | None:
    """Accounts linked to this one, itself included; None while unlinked."""
    return subject.cluster_size


@signal("suspicion", type=float)
def suspicion(facts: RequestFacts, subject: Subject) -> float | None:
    """Suspicion of the cluster, 0..1; None while unlinked."""
    return subject.suspicion
