"""Facts and subject in, findings and planned charges out. Nothing is counted here.

Law: a request that an enforced rule refuses drains nobody's budget, so its limits are only
looked at. Law: the order of rules and limits changes nothing but the order of findings.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..model import (
    Assessment,
    Cost,
    Effect,
    Finding,
    Limit,
    Mode,
    PlannedStep,
    Policy,
    Quota,
    RequestFacts,
    Rule,
    Status,
    Step,
    StepKind,
    Subject,
    Verdict,
)
from .gcra import increment_us, tolerance_us
from .quota import QuotaError, parse_quota
from .spread import shard_of

ACCOUNT_SCOPES = frozenset("a")
UNKNOWN_NETWORK = "unknown"


def _fixed(name: str, message: str, status: int) -> Finding:
    return Finding(name, Verdict.DENY, Mode.ENFORCE, message, status=status, is_fixed=True)


_BANNED = _fixed("account_banned", "This account has been closed by its operator.", 403)
_UNKNOWN = _fixed("unknown_credential", "The API key is not valid here.", 401)
_MISSING = _fixed(
    "missing_credential",
    "No API key was sent: use the Authorization header or x-api-key.",
    401,
)


def assess(policy: Policy, facts: RequestFacts, subject: Subject) -> Assessment:
    """Apply every rule of `policy` and plan every limit that concerns this request."""
    values = tuple([spec.read(facts, subject) for spec in policy.signals])
    findings = _admission(policy, facts, subject)
    for rule in policy.rules:
        if rule.when(values):
            findings.append(_finding(rule))
    is_refused = any(f.mode is Mode.ENFORCE and f.verdict is not Verdict.ALLOW for f in findings)
    plan = []
    for limit in policy.limits:
        planned = _plan(limit, values, facts, subject, looks_only=is_refused)
        if planned is not None:
            plan.append(planned)
    return Assessment(values, tuple(findings), tuple(plan))


def _admission(policy: Policy, facts: RequestFacts, subject: Subject) -> list[Finding]:
    if subject.status is Status.ACTIVE or subject.status is Status.ADOPTED:
        return []
    if subject.status is Status.BANNED:
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


def _plan(
    limit: Limit,
    values: Sequence[object],
    facts: RequestFacts,
    subject: Subject,
    *,
    looks_only: bool,
) -> PlannedStep | None:
    """The limit's step for this request; None where the limit does not apply."""
    if limit.when is not None and not limit.when(values):
        return None
    quota = _quota(limit, subject)
    tag = _tag(limit, values, facts, subject)
    if quota is None or tag is None:
        return None
    if limit.shards > 1:
        quota = _share(quota, limit.shards)
    field = limit.name
    for position in limit.fields:
        field += f":{_field_text(values[position])}"
    effect = _effect(limit.mode, looks_only=looks_only)
    return PlannedStep(limit, quota, _step(limit, quota, tag, field, facts, effect))


def _effect(mode: Mode, *, looks_only: bool) -> Effect:
    if mode is Mode.SHADOW:
        return Effect.LOOK_SHADOW if looks_only else Effect.SHADOW
    return Effect.LOOK if looks_only else Effect.ENFORCE


def _step(
    limit: Limit, quota: Quota, tag: str, field: str, facts: RequestFacts, effect: Effect
) -> Step:
    if limit.cost is Cost.CONCURRENCY:
        return Step(tag, field, StepKind.LEASE, effect, facts.items, quota.limit, limit.lease_us)
    ceiling = tolerance_us(quota)
    amount = increment_us(_units(limit.cost, facts), quota)
    if limit.cost is not Cost.REQUESTS:
        amount = min(amount, ceiling)  # a large estimate may still begin; the debt is carried
    return Step(tag, field, StepKind.GCRA, effect, amount, ceiling, ceiling)


def _units(cost: Cost, facts: RequestFacts) -> int:
    if cost is Cost.REQUESTS:
        return facts.items
    if cost is Cost.INPUT_TOKENS:
        return facts.estimated_input_tokens
    if cost is Cost.OUTPUT_TOKENS:
        return facts.estimated_output_tokens
    return facts.estimated_input_tokens + facts.estimated_output_tokens


def _quota(limit: Limit, subject: Subject) -> Quota | None:
    """Override of the account, else its tier's, else the limit's own."""
    if subject.quotas:
        override = _override(limit, subject)
        if override is not None:
            return override
    if limit.tier_quotas and subject.tier is not None:
        return limit.tier_quotas.get(subject.tier, limit.quota)
    return limit.quota


def _override(limit: Limit, subject: Subject) -> Quota | None:
    """None where there is none, or one that cannot be used: it must not lift the limit. The
    import checks that it can be read, but not whether this limit counts leases or a rate."""
    text = subject.quotas.get(limit.name)
    if text is None:
        return None
    try:
        quota = parse_quota(text)
    except QuotaError:
        return None
    is_held = quota.period_us == 0
    return quota if is_held == (limit.cost is Cost.CONCURRENCY) else None


def _tag(
    limit: Limit, values: Sequence[object], facts: RequestFacts, subject: Subject
) -> str | None:
    """Where the counter lives. Bogus keys must not fill the store, so what is keyed by an
    account that nobody knows yet is counted on the client network instead."""
    if limit.scope_signal is None:
        return f"g:{limit.name}:{shard_of(facts.decision_id, limit.shards)}"
    if limit.scope in ACCOUNT_SCOPES and subject.status is Status.PROVISIONAL:
        return f"n:{facts.client_network or UNKNOWN_NETWORK}"
    value = values[limit.scope_signal]
    return None if value is None else f"{limit.scope}:{value}"


def _field_text(value: object) -> str:
    return "-" if value is None else str(value)


def _share(quota: Quota, shards: int) -> Quota:
    """One shard's part, rounded down so that the shards never sum to more."""
    return Quota(max(1, quota.limit // shards), quota.period_us, max(1, quota.burst // shards))
