"""What a cluster's limits make of one of its members.

Law: an account that is not linked, and one whose cluster people have dismissed, has no limit by
cluster. Law: who goes first changes what passes, never how much: all members draw on one budget.
"""

from __future__ import annotations

from ..model import ClusterTerms, Level, Quota, Subject
from .gcra import increment_us

DISMISSED = "dismissed"
FLOOR_SHARE = 100  # one part in this many of a period's quota is kept for those who go first


def is_counted(subject: Subject) -> bool:
    return subject.cluster_id is not None and subject.cluster_state != DISMISSED


def quota_of(terms: ClusterTerms, subject: Subject) -> Quota | None:
    """The tighter of what state and suspicion ask for; None where neither asks for anything."""
    found = terms.states.get(subject.cluster_state) if subject.cluster_state is not None else None
    suspected = None
    for at_least, quota in terms.suspicion:
        if subject.suspicion is not None and subject.suspicion >= at_least:
            suspected = quota
    if found is None or (suspected is not None and is_tighter(suspected, found)):
        return suspected
    return found


def is_tighter(one: Quota, other: Quota) -> bool:
    """Whether `one` lets less pass: the lower rate, then the lower burst."""
    mine, its = rate_of(one), rate_of(other)
    return one.burst < other.burst if mine == its else mine < its


def rate_of(quota: Quota) -> float:
    """Units a microsecond; of a concurrency quota the leases."""
    return quota.limit / (quota.period_us or 1)


def known_before_us(subject: Subject) -> int | None:
    """How much longer the account, or its verified payment or identity, is known than its cluster.

    None while unlinked, or when nobody recorded either; negative for one that came later.
    """
    if subject.cluster_since_us is None or subject.cluster_id is None:
        return None
    known = [grant.granted_us for grant in subject.grants if grant.level >= Level.PAYMENT]
    if subject.created_us is not None:
        known.append(subject.created_us)
    return subject.cluster_since_us - min(known) if known else None


def reserve_us(terms: ClusterTerms, quota: Quota, subject: Subject) -> int:
    """How much further than the others' this member's requests may run ahead: 1 % of a period's
    quota, at least one request; 0 for who has no claim, and of a quota of 0."""
    if terms.floor_us is None or quota.limit == 0:
        return 0
    before_us = known_before_us(subject)
    if before_us is None or before_us < terms.floor_us:
        return 0
    return increment_us(max(1, quota.limit // FLOOR_SHARE), quota)
