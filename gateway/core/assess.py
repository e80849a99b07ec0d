"""Facts and subject in, findings and planned charges out. Nothing is counted here.

Law: a request that an enforced rule refuses drains nobody's budget, so its limits are only
looked at. Law: the order of rules and limits changes nothing but the order of findings.
"""

from __future__ import annotations

from typing import cast

from ..errors import RequestError
from ..model import (
    SECOND_US,
    Assessment,
    Finding,
    Mode,
    PlannedStep,
    Policy,
    RequestFacts,
    Rule,
    Status,
    Subject,
    Verdict,
)
from .behaviour import read_window
from .limit_plan import PreparedLimit, plan_step, plan_tokens
from .prepare import Prepared, unprepared

# Looking a member up in its enum costs as much as what is done with it.
_ENFORCE, _ALLOW = Mode.ENFORCE, Verdict.ALLOW
_ACTIVE, _ADOPTED, _BANNED_STATUS = Status.ACTIVE, Status.ADOPTED, Status.BANNED


def _fixed(name: str, message: str, status: int) -> Finding:
    return Finding(name, Verdict.DENY, Mode.ENFORCE, message, status=status, is_fixed=True)


_BANNED = _fixed("account_banned", "This account has been closed by its operator.", 403)
_UNKNOWN = _fixed("unknown_credential", "The API key is not valid here.", 401)
_MISSING = _fixed(
    "missing_credential",
    "No API key was sent: use the Authorization header or x-api-key.",
    401,
)


def unknown_credential() -> RequestError:
    """The same refusal, for whoever need not have the request decided."""
    return RequestError(_UNKNOWN.status, _UNKNOWN.rule, _UNKNOWN.message)


def assess(
    policy: Policy,
    facts: RequestFacts,
    subject: Subject,
    prepared: Prepared | None = None,
) -> Assessment:
    """Apply every rule of `policy` and plan every limit that concerns this request.

    `prepared` is what `Preparer(policy)` makes of the subject, for those who keep it; without it
    the quotas of clusters are those of the policy to the unit.
    """
    if prepared is None:
        prepared = unprepared(policy, subject)
    values = list(prepared.values)
    for position, read in prepared.asked:
        values[position] = read(facts, subject)
    if prepared.of_window:
        _read_window(prepared, facts, values)
    findings = [] if subject.status is _ACTIVE else _admission(policy, facts, subject)
    for when, rule in prepared.rules:
        if when is None or when(values):
            findings.append(_finding(rule))
    if findings and _refuses(findings):
        plan = _plan(prepared.limits, values, facts, looks_only=True)
    elif facts.items != 1:
        plan = _plan(prepared.limits, values, facts, looks_only=False)
    else:
        plan = _plan_one(prepared, values, facts)
    return Assessment(tuple(values), tuple(findings), plan)


def _read_window(prepared: Prepared, facts: RequestFacts, values: list[object]) -> None:
    """All of its signals off one opening; without a window they stay None."""
    seen = read_window(facts.window, facts.received_us // SECOND_US)
    if seen is not None:
        for position, of in prepared.of_window:
            values[position] = of(seen, facts)


def _refuses(findings: list[Finding]) -> bool:
    return any(f.mode is _ENFORCE and f.verdict is not _ALLOW for f in findings)


def _plan(
    limits: tuple[PreparedLimit, ...],
    values: list[object],
    facts: RequestFacts,
    *,
    looks_only: bool,
) -> tuple[PlannedStep, ...]:
    plan = []
    for one in limits:
        if one.when is None or one.when(values):
            planned = plan_step(one, values, facts, looks_only=looks_only)
            if planned is not None:
                plan.append(planned)
    return tuple(plan)


def _plan_one(
    prepared: Prepared, values: list[object], facts: RequestFacts
) -> tuple[PlannedStep, ...]:
    """`_plan` of a request of one item that no rule refuses: only what is open is worked out."""
    plan = list(prepared.ready)
    is_whole = True
    for position, one in prepared.open:
        if one.when is not None and not one.when(values):
            is_whole = False
        elif one.counts_tokens:
            plan[position] = plan_tokens(one, facts)
        else:
            planned = one.ready or plan_step(one, values, facts, looks_only=False)
            plan[position] = planned
            is_whole = is_whole and planned is not None
    if is_whole:
        return tuple(cast(list[PlannedStep], plan))
    return tuple([planned for planned in plan if planned is not None])


def _admission(policy: Policy, facts: RequestFacts, subject: Subject) -> list[Finding]:
    if subject.status is _ADOPTED:
        return []
    if subject.status is _BANNED_STATUS:
        return [_BANNED]
    if facts.credential is None:
        return [_MISSING]
    return [] if policy.adopts_unknown else [_UNKNOWN]


def _finding(rule: Rule) -> Finding:
    return Finding(
        rule.name,
        rule.verdict,
        rule.mode,
        rule.message,
        level=rule.level,
        retry_after_us=rule.retry_after_us,
        status=rule.status,
    )
