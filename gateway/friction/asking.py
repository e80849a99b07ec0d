"""Whether a decision asks its account for a verification, and since when."""

from __future__ import annotations

from ..model import Ask, Decision, Policy, Status, Subject, Verdict, with_changes


def ask_in(decision: Decision, policy: Policy) -> Ask | None:
    """The heaviest ask in force among the findings, graces included; None: nothing is asked. What
    is asked because of an aggregator's user is not asked of the aggregator."""
    if not decision.findings or not policy.asks or decision.shadow_all:
        return None
    if decision.subject is not None and decision.subject.sub_user is not None:
        return None
    asks = [
        policy.asks[finding.rule]
        for finding in decision.findings
        if finding.verdict is Verdict.VERIFY and finding.rule in policy.asks
    ]
    in_force = [ask for ask in asks if ask.is_enforced]
    return max(in_force, key=lambda ask: (ask.level, ask.rule), default=None)


def asked(subject: Subject, now_us: int) -> Subject | None:
    """The subject with the ask noted; None where it is noted, or where there is no account."""
    if subject.asked_us is not None or subject.status not in (Status.ACTIVE, Status.ADOPTED):
        return None
    return with_changes(subject, asked_us=now_us)
