"""Findings and counters in, one decision out. The only place where shadow and failure matter."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import RequestError
from ..model import (
    SECOND_US,
    Assessment,
    ChargeReply,
    Cost,
    Decision,
    Finding,
    Identity,
    LimitState,
    Mode,
    OnStoreError,
    PlannedStep,
    Policy,
    RequestFacts,
    StepKind,
    StepResult,
    Verdict,
)
from .gcra import retry_after_us

OWN_SCOPES = frozenset("ao")
STORE_UNAVAILABLE = "store_unavailable"
ROUTE_NOT_LISTED = "route_not_listed"
LEASE_RETRY_US = SECOND_US
MAX_COARSE_US = SECOND_US << 16
_NEVER = float("inf")
# Looking a member up in its enum costs as much as what is done with it.
_ALLOW, _ENFORCE = Verdict.ALLOW, Mode.ENFORCE


def judge(
    policy: Policy,
    facts: RequestFacts,
    identity: Identity,
    assessment: Assessment,
    reply: ChargeReply,
) -> Decision:
    """The worst enforced finding wins; the kill switch turns every finding of the policy into
    a shadow, while who may call at all stays as it is."""
    if not assessment.findings and _all_allowed(reply.results):
        return _allow(policy, facts, identity, assessment, reply)
    refused = [
        _limit_finding(planned, result, reply.now_us)
        for planned, result in zip(assessment.plan, reply.results, strict=True)
        if not result.allowed
    ]
    findings = (*assessment.findings, *refused)
    return _decide(
        policy,
        facts,
        identity,
        findings,
        values=assessment.values,
        plan=assessment.plan,
        results=reply.results,
        applied=reply.applied,
        shadow_all=reply.shadow_all,
        decided_us=reply.now_us,
    )


def _all_allowed(results: tuple[StepResult, ...]) -> bool:
    """A loop: half the price of all()."""
    for result in results:  # noqa: SIM110
        if not result.allowed:
            return False
    return True


def _allow(
    policy: Policy,
    facts: RequestFacts,
    identity: Identity,
    assessment: Assessment,
    reply: ChargeReply,
) -> Decision:
    """`_decide` where nobody has an opinion: nearly always, so nothing is asked that is known."""
    return Decision(
        facts.decision_id,
        _ALLOW,
        _ALLOW,
        "ok",
        (),
        identity.subject,
        identity.key_id,
        policy.revision,
        reply.now_us,
        200,
        "",
        None,
        0,
        False,
        (),
        reply.shadow_all,
        assessment.values,
        assessment.plan,
        reply.results,
        reply.applied,
    )


def judge_without_store(
    policy: Policy,
    facts: RequestFacts,
    identity: Identity,
    assessment: Assessment,
    *,
    shadow_all: bool = False,
) -> Decision:
    """The store failed: each enforced limit says what its `on_store_error` tells it to.

    `shadow_all` is the kill switch as it was last seen.
    """
    enforced = [p.limit for p in assessment.plan if p.limit.mode is Mode.ENFORCE]
    findings = list(assessment.findings)
    denies = [limit for limit in enforced if limit.on_store_error is OnStoreError.DENY]
    if denies:
        findings.append(_store_finding(Mode.ENFORCE))
    return _decide(
        policy,
        facts,
        identity,
        findings,
        values=assessment.values,
        plan=assessment.plan,
        shadow_all=shadow_all,
        degraded=True,
        degraded_limits=tuple(limit.name for limit in enforced),
    )


def judge_unidentified(
    policy: Policy, facts: RequestFacts, identity: Identity, *, shadow_all: bool = False
) -> Decision:
    """The store failed before the caller was known: the policy's own `on_store_error` speaks."""
    is_denied = policy.on_store_error is OnStoreError.DENY
    findings = [_store_finding(Mode.ENFORCE)] if is_denied else []
    return _decide(policy, facts, identity, findings, degraded=True, shadow_all=shadow_all)


def judge_unlisted(policy: Policy, facts: RequestFacts) -> Decision:
    """No route of the policy matches: closed by default, whatever the mode."""
    finding = Finding(ROUTE_NOT_LISTED, Verdict.DENY, Mode.ENFORCE, "This path is not served here.")
    return _decide(policy, facts, None, [finding])


def judge_unreadable(policy: Policy, facts: RequestFacts, error: RequestError) -> Decision:
    """The request cannot be read safely: two parsers must never read two requests."""
    finding = Finding(error.reason, Verdict.DENY, Mode.ENFORCE, error.message, status=error.status)
    return _decide(policy, facts, None, [finding])


def _decide(
    policy: Policy,
    facts: RequestFacts,
    identity: Identity | None,
    findings: Sequence[Finding],
    *,
    values: tuple[object, ...] = (),
    plan: tuple[PlannedStep, ...] = (),
    results: tuple[StepResult, ...] = (),
    applied: bool = False,
    shadow_all: bool = False,
    degraded: bool = False,
    degraded_limits: tuple[str, ...] = (),
    decided_us: int | None = None,
) -> Decision:
    worst_of_all = deciding = None
    if findings:
        worst_of_all = max(findings, key=severity)
        enforced = [
            f for f in findings if f.mode is Mode.ENFORCE and (f.is_fixed or not shadow_all)
        ]
        deciding = max(enforced, key=severity, default=None)
    served = deciding is None or deciding.verdict is _ALLOW
    # By position: naming 20 fields costs more than all of the judging.
    return Decision(
        facts.decision_id,
        _ALLOW if deciding is None else deciding.verdict,
        _ALLOW if worst_of_all is None else worst_of_all.verdict,
        "ok" if served or deciding is None else deciding.rule,
        tuple(findings),
        identity.subject if identity else None,
        identity.key_id if identity else None,
        policy.revision,
        facts.received_us if decided_us is None else decided_us,
        200 if deciding is None else _status(deciding),
        "" if deciding is None else deciding.message,
        None if deciding is None else deciding.level,
        0 if deciding is None else deciding.retry_after_us,
        degraded,
        degraded_limits,
        shadow_all,
        values,
        plan,
        results,
        applied,
    )


def severity(finding: Finding) -> tuple[int, int, float, str]:
    """Worst last: verdict, then the higher level, then the longer wait; -1 waits for ever.

    The name comes last, so that the order of a policy's rules never decides.
    """
    wait = _NEVER if finding.retry_after_us < 0 else finding.retry_after_us
    return (finding.verdict, finding.level or 0, wait, finding.rule)


def _status(finding: Finding) -> int:
    if finding.verdict is Verdict.ALLOW:
        return 200
    if finding.verdict is Verdict.THROTTLE:
        return 429
    return finding.status if finding.verdict is Verdict.DENY else 403


def _limit_finding(planned: PlannedStep, result: StepResult, now_us: int) -> Finding:
    step, limit = planned.step, planned.limit
    if limit.level is not None:
        return Finding(limit.name, Verdict.VERIFY, limit.mode, limit.message, level=limit.level)
    if step.kind is StepKind.LEASE:
        wait_us = -1 if step.amount > step.ceiling else LEASE_RETRY_US
    else:
        wait_us = retry_after_us(result.level, now_us, step.amount, step.ceiling)
    if not limit.is_public:
        wait_us = _coarse(wait_us)
    return Finding(limit.name, Verdict.THROTTLE, limit.mode, limit.message, retry_after_us=wait_us)


def _coarse(wait_us: int) -> int:
    """The next power of two in seconds, 1 s to 18 h: the exact wait of a limit that callers may
    not know would tell its rate, and "never" (-1) that there is no use in waiting for it."""
    if wait_us < 0:
        return MAX_COARSE_US
    whole_s = -(-wait_us // SECOND_US)
    return min(MAX_COARSE_US, SECOND_US << max(0, whole_s - 1).bit_length())


def _store_finding(mode: Mode) -> Finding:
    return Finding(
        STORE_UNAVAILABLE,
        Verdict.THROTTLE,
        mode,
        "The service cannot check its limits right now; please try again.",
        retry_after_us=SECOND_US,
    )


def own_limits(decision: Decision) -> list[LimitState]:
    """What the caller may be told: enforced limits of the account and its organization, unless
    a cluster has a part in them."""
    if not decision.results:
        return []
    now_us = decision.decided_us
    return [
        limit_state(planned, result, now_us)
        for planned, result in zip(decision.plan, decision.results, strict=True)
        if planned.limit.mode is Mode.ENFORCE
        and planned.limit.is_public
        and planned.limit.scope in OWN_SCOPES
    ]


def limit_state(planned: PlannedStep, result: StepResult, now_us: int) -> LimitState:
    limit, quota = planned.limit, planned.quota
    if limit.cost is Cost.CONCURRENCY:
        return LimitState(limit.name, limit.cost, quota, max(0, quota.limit - result.level), 0)
    ahead_us = result.level - now_us
    reset_us = ahead_us if ahead_us > 0 else 0
    free_us = planned.step.ceiling - reset_us
    left = min(quota.burst, free_us * quota.limit // quota.period_us) if free_us > 0 else 0
    return LimitState(limit.name, limit.cost, quota, left, reset_us)
