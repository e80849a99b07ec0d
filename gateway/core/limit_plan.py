"""From the limits of a policy to the steps of one request.

What follows from the account alone is worked out once (`prepare_limit`); a request then adds its
own keys and amounts (`plan_step`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..model import (
    TOKEN_COSTS,
    Cost,
    Effect,
    Limit,
    Mode,
    PlannedStep,
    Policy,
    Predicate,
    Quota,
    RequestFacts,
    Status,
    Step,
    StepKind,
    Subject,
    record,
)
from .cluster import is_counted, quota_of, reserve_us
from .gcra import increment_us, tolerance_us
from .jitter import Jitter
from .quota import QuotaError, parse_quota
from .spread import shard_of

_SUBJECT_SCOPES = frozenset("aoc")  # account, organization, cluster: known with the subject
UNKNOWN_NETWORK = "unknown"
NO_FACTS = RequestFacts("", 0, "", "", "", None, "")
# Looking a member up in its enum costs as much as what is done with it.
_REQUESTS, _CONCURRENCY = Cost.REQUESTS, Cost.CONCURRENCY
_INPUT, _OUTPUT = Cost.INPUT_TOKENS, Cost.OUTPUT_TOKENS
_GCRA, _LEASE = StepKind.GCRA, StepKind.LEASE
_ENFORCE, _ENFORCED, _SHADOWED = Mode.ENFORCE, Effect.ENFORCE, Effect.SHADOW
_EFFECTS = {
    (Mode.ENFORCE, False): Effect.ENFORCE,
    (Mode.ENFORCE, True): Effect.LOOK,
    (Mode.SHADOW, False): Effect.SHADOW,
    (Mode.SHADOW, True): Effect.LOOK_SHADOW,
}
"""By mode, and whether the step only looks."""


@record
class PreparedLimit:
    """What of a limit's step follows from policy and account alone.

    `when` is None where the limit concerns every request of the account. `tag` and `field` are
    None where they depend on the request; `one_us` is the increment of one unit. `ready` is the
    whole step of a request of one item, where nothing else of the request matters: it is made
    once, not per request. `counts_tokens`: the request decides about nothing but the amount.
    """

    limit: Limit
    when: Predicate | None
    quota: Quota
    ceiling: int
    one_us: int
    tag: str | None
    field: str | None
    ready: PlannedStep | None
    counts_tokens: bool


def prepare_limit(
    policy: Policy,
    limit: Limit,
    subject: Subject,
    jitter: Jitter | None,
    *,
    when: Predicate | None,
    known: Mapping[int, object],
    tags: dict[str, str],
) -> PreparedLimit | None:
    """None where the subject has no quota for the limit, or no such key.

    `known` are the values, by position, that will be the same for every request; `when` is what
    is left to be asked of `limit.when`. `tags` keeps one text for each tag of the account.
    """
    if limit.cluster is not None and not is_counted(subject):
        return None
    quota = _quota_for(limit, subject, jitter)
    if quota is None:
        return None
    tag = None
    if _has_known_tag(limit, subject, known):
        tag = _known_tag(policy, limit, subject, known)
        if tag is None:
            return None
    field = _field(limit, known) if all(p in known for p in limit.fields) else None
    ceiling, one_us = _bounds(limit, quota, subject)
    ready, counts_tokens = None, False
    if tag is not None and field is not None:
        tag = tags.setdefault(tag, tag)
        if limit.cost not in TOKEN_COSTS:
            ready = PlannedStep(limit, quota, _step(limit, quota, ceiling, one_us, tag, field))
        else:
            counts_tokens = quota.limit > 0
    return PreparedLimit(limit, when, quota, ceiling, one_us, tag, field, ready, counts_tokens)


def plan_step(
    one: PreparedLimit, values: Sequence[object], facts: RequestFacts, *, looks_only: bool
) -> PlannedStep | None:
    """The limit's step for this request; None where the limit does not apply."""
    limit = one.limit
    tag = one.tag or _tag(limit, values, facts)
    if tag is None:
        return None
    field = one.field or _field(limit, values)
    step = _step(limit, one.quota, one.ceiling, one.one_us, tag, field, facts, looks_only)
    return PlannedStep(limit, one.quota, step)


def plan_tokens(one: PreparedLimit, facts: RequestFacts) -> PlannedStep:
    """`plan_step` of a limit with `counts_tokens`, which depends on the request in nothing else."""
    limit, quota, ceiling, field = one.limit, one.quota, one.ceiling, one.field
    cost = limit.cost
    tokens = facts.estimated_input_tokens if cost is not _OUTPUT else 0
    if cost is not _INPUT:
        tokens += facts.estimated_output_tokens
    amount = -(-tokens * quota.period_us // quota.limit)  # `increment_us`
    if amount > ceiling:
        amount = ceiling
    effect = _ENFORCED if limit.mode is _ENFORCE else _SHADOWED
    return PlannedStep(
        limit, quota, Step(one.tag or "", field or "", _GCRA, effect, amount, ceiling, ceiling)
    )


def _step(
    limit: Limit,
    quota: Quota,
    ceiling: int,
    one_us: int,
    tag: str,
    field: str,
    facts: RequestFacts = NO_FACTS,
    looks_only: bool = False,
) -> Step:
    effect = _EFFECTS[limit.mode, looks_only]
    cost = limit.cost
    if cost is _REQUESTS:
        amount = one_us if facts.items == 1 else increment_us(facts.items, quota)
    elif cost is _CONCURRENCY:
        return Step(tag, field, _LEASE, effect, facts.items, ceiling, limit.lease_us)
    elif quota.limit == 0:
        amount = one_us  # over the ceiling however small the estimate: never passes
    else:  # a large estimate may still begin; the debt is carried
        amount = min(increment_us(_tokens(cost, facts), quota), ceiling)
    return Step(tag, field, _GCRA, effect, amount, ceiling, ceiling)


def _tokens(cost: Cost, facts: RequestFacts) -> int:
    if cost is _INPUT:
        return facts.estimated_input_tokens
    if cost is _OUTPUT:
        return facts.estimated_output_tokens
    return facts.estimated_input_tokens + facts.estimated_output_tokens


# ── what applies to the account ──────────────────────────────────────────────────────────────


def _quota_for(limit: Limit, subject: Subject, jitter: Jitter | None) -> Quota | None:
    """As it is counted: with the jitter of a cluster's limit, and as one shard's part."""
    quota = _quota(limit, subject)
    if quota is None:
        return None
    if limit.cluster is not None and jitter is not None:
        quota = jitter.apply(quota, limit, subject)
    return _share(quota, limit.shards) if limit.shards > 1 else quota


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
    return quota if is_held == (limit.cost is _CONCURRENCY) else None


def _bounds(limit: Limit, quota: Quota, subject: Subject) -> tuple[int, int]:
    """(ceiling, increment of one unit)."""
    if limit.cost is _CONCURRENCY:
        return quota.limit, 1
    ceiling = tolerance_us(quota)
    if limit.cluster is not None:
        ceiling += reserve_us(limit.cluster, quota, subject)
    return ceiling, increment_us(1, quota)


def _share(quota: Quota, shards: int) -> Quota:
    """One shard's part, rounded down so that the shards never sum to more."""
    return Quota(max(1, quota.limit // shards), quota.period_us, max(1, quota.burst // shards))


# ── where it is counted ──────────────────────────────────────────────────────────────────────


def _has_known_tag(limit: Limit, subject: Subject, known: Mapping[int, object]) -> bool:
    if limit.scope_signal is None:
        return limit.shards == 1
    if limit.scope == "a" and subject.status is Status.PROVISIONAL:
        return False
    return limit.scope in _SUBJECT_SCOPES or limit.scope_signal in known


def _known_tag(
    policy: Policy, limit: Limit, subject: Subject, known: Mapping[int, object]
) -> str | None:
    """None where the account has no such key."""
    position = limit.scope_signal
    if position is None:
        return f"g:{limit.name}:0"
    value = (
        known[position] if position in known else policy.signals[position].read(NO_FACTS, subject)
    )
    return None if value is None else f"{limit.scope}:{value}"


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


def _field(limit: Limit, values: Sequence[object] | Mapping[int, object]) -> str:
    field = limit.name
    for position in limit.fields:
        value = values[position]
        field += f":{'-' if value is None else value}"
    return field
