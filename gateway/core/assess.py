"""Facts and subject in, findings and planned charges out. Nothing is counted here.

Law: a request that an enforced rule refuses drains nobody's budget, so its limits are only
looked at. Law: the order of rules and limits changes nothing but the order of findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..model import (
    TOKEN_COSTS,
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
from .cluster import is_counted, quota_of, reserve_us
from .gcra import increment_us, tolerance_us
from .jitter import Jitter
from .quota import QuotaError, parse_quota
from .spread import shard_of

_SUBJECT_SCOPES = frozenset("aoc")  # account, organization, cluster: known with the subject
UNKNOWN_NETWORK = "unknown"
NO_FACTS = RequestFacts("", 0, "", "", "", None, "")


def _fixed(name: str, message: str, status: int) -> Finding:
    return Finding(name, Verdict.DENY, Mode.ENFORCE, message, status=status, is_fixed=True)


_BANNED = _fixed("account_banned", "This account has been closed by its operator.", 403)
_UNKNOWN = _fixed("unknown_credential", "The API key is not valid here.", 401)
_MISSING = _fixed(
    "missing_credential",
    "No API key was sent: use the Authorization header or x-api-key.",
    401,
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What of a limit's step follows from policy and subject alone.

    `tag` and `field` are None where they depend on the request; `one_us` is the increment of
    one unit. `ready` is the whole step of a request of one item, where nothing else of the
    request matters: it is made once, not per request.
    """

    limit: Limit
    quota: Quota
    ceiling: int
    one_us: int
    tag: str | None
    field: str | None
    ready: PlannedStep | None = None


def prepare(policy: Policy, subject: Subject, jitter: Jitter | None = None) -> tuple[Prepared, ...]:
    """The limits that may concern this subject, to be kept as long as all stay what they are."""
    prepared = (_prepare(policy, limit, subject, jitter) for limit in policy.limits)
    return tuple(one for one in prepared if one is not None)


def assess(
    policy: Policy,
    facts: RequestFacts,
    subject: Subject,
    prepared: tuple[Prepared, ...] | None = None,
) -> Assessment:
    """Apply every rule of `policy` and plan every limit that concerns this request.

    `prepared` is `prepare(policy, subject, jitter)`, for those who keep it; without it the
    quotas of clusters are those of the policy to the unit.
    """
    values = tuple([spec.read(facts, subject) for spec in policy.signals])
    findings = _admission(policy, facts, subject)
    findings += [_finding(rule) for rule in policy.rules if rule.when(values)]
    looks_only = False
    for finding in findings:
        if finding.mode is Mode.ENFORCE and finding.verdict is not Verdict.ALLOW:
            looks_only = True
    plan = []
    may_reuse = facts.items == 1 and not looks_only
    for one in prepare(policy, subject) if prepared is None else prepared:
        limit = one.limit
        if limit.when is None or limit.when(values):
            if may_reuse and one.ready is not None:
                plan.append(one.ready)
                continue
            step = _step(one, values, facts, looks_only)
            if step is not None:
                plan.append(PlannedStep(limit, one.quota, step))
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


def _prepare(
    policy: Policy, limit: Limit, subject: Subject, jitter: Jitter | None
) -> Prepared | None:
    """None where the subject has no quota for the limit, or no such key."""
    if limit.cluster is not None and not is_counted(subject):
        return None
    quota = _quota(limit, subject)
    if quota is None:
        return None
    if limit.cluster is not None and jitter is not None:
        quota = jitter.apply(quota, limit, subject)
    if limit.shards > 1:
        quota = _share(quota, limit.shards)
    tag: str | None = None
    is_stranger = limit.scope == "a" and subject.status is Status.PROVISIONAL
    if limit.scope in _SUBJECT_SCOPES and limit.scope_signal is not None and not is_stranger:
        value = policy.signals[limit.scope_signal].read(NO_FACTS, subject)
        if value is None:
            return None
        tag = f"{limit.scope}:{value}"
    field = None if limit.fields else limit.name
    is_lease = limit.cost is Cost.CONCURRENCY
    ceiling, one_us = (
        (quota.limit, 1) if is_lease else (tolerance_us(quota), increment_us(1, quota))
    )
    if limit.cluster is not None and not is_lease:
        ceiling += reserve_us(limit.cluster, quota, subject)
    prepared = Prepared(limit, quota, ceiling, one_us, tag, field)
    if tag is None or field is None or limit.cost in TOKEN_COSTS:
        return prepared
    step = _step(prepared, (), NO_FACTS, looks_only=False)
    return prepared if step is None else replace(prepared, ready=PlannedStep(limit, quota, step))


def _step(
    one: Prepared, values: Sequence[object], facts: RequestFacts, looks_only: bool
) -> Step | None:
    """The limit's step for this request; None where the limit does not apply."""
    limit = one.limit
    tag = one.tag or _tag(limit, values, facts)
    if tag is None:
        return None
    field = one.field or _field(limit, values)
    effect = _effect(limit.mode, looks_only=looks_only)
    cost, ceiling = limit.cost, one.ceiling
    if cost is Cost.REQUESTS:
        amount = one.one_us if facts.items == 1 else increment_us(facts.items, one.quota)
    elif cost is Cost.CONCURRENCY:
        return Step(tag, field, StepKind.LEASE, effect, facts.items, ceiling, limit.lease_us)
    elif one.quota.limit == 0:
        amount = one.one_us  # over the ceiling however small the estimate: never passes
    else:  # a large estimate may still begin; the debt is carried
        amount = min(increment_us(_tokens(cost, facts), one.quota), ceiling)
    return Step(tag, field, StepKind.GCRA, effect, amount, ceiling, ceiling)


def _effect(mode: Mode, *, looks_only: bool) -> Effect:
    if mode is Mode.SHADOW:
        return Effect.LOOK_SHADOW if looks_only else Effect.SHADOW
    return Effect.LOOK if looks_only else Effect.ENFORCE


def _tokens(cost: Cost, facts: RequestFacts) -> int:
    if cost is Cost.INPUT_TOKENS:
        return facts.estimated_input_tokens
    if cost is Cost.OUTPUT_TOKENS:
        return facts.estimated_output_tokens
    return facts.estimated_input_tokens + facts.estimated_output_tokens


def _quota(limit: Limit, subject: Subject) -> Quota | None:
    """Override of the account, else its cluster's or its tier's, else the limit's own."""
    if subject.quotas:
        override = _override(limit, subject)
        if override is not None:
            return override
    if limit.cluster is not None:
        told = quota_of(limit.cluster, subject)
        if told is not None:
            return told
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


def _tag(limit: Limit, values: Sequence[object], facts: RequestFacts) -> str | None:
    """Where the counter lives, as far as the request decides it.

    Bogus keys must not fill the store, so what is keyed by an account that nobody knows yet is
    counted on the client network instead.
    """
    if limit.scope_signal is None:
        return f"g:{limit.name}:{shard_of(facts.decision_id, limit.shards)}"
    if limit.scope == "a":
        return f"n:{facts.client_network or UNKNOWN_NETWORK}"
    value = values[limit.scope_signal]
    return None if value is None else f"{limit.scope}:{value}"


def _field(limit: Limit, values: Sequence[object]) -> str:
    field = limit.name
    for position in limit.fields:
        value = values[position]
        field += f":{'-' if value is None else value}"
    return field


def _share(quota: Quota, shards: int) -> Quota:
    """One shard's part, rounded down so that the shards never sum to more."""
    return Quota(max(1, quota.limit // shards), quota.period_us, max(1, quota.burst // shards))
