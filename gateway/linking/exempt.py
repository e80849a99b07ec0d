"""Who is never linked: verified organisations, and contracts that cover sharing.

An organisation's own word about itself does not count: the grant `organization` does.
"""

from __future__ import annotations

from ..model import Level, Subject

COVERING_CONTRACTS = frozenset({"aggregator", "synthetic-data", "agency", "research"})


def is_exempt(subject: Subject) -> bool:
    if not subject.grants and not subject.contracts:
        return False
    return any(grant.level is Level.ORGANIZATION for grant in subject.grants) or not (
        COVERING_CONTRACTS.isdisjoint(subject.contracts)
    )
