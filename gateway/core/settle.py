"""From reservation to truth: what settlement corrects, once the usage is known."""

from __future__ import annotations

from ..model import (
    Correction,
    Cost,
    Decision,
    Effect,
    Limit,
    Settlement,
    Sighting,
    StepKind,
    Usage,
)
from .gcra import increment_us

# Looking a member up in its enum costs as much as what is done with it.
_ENFORCE, _SHADOW = Effect.ENFORCE, Effect.SHADOW
_REQUESTS, _INPUT, _OUTPUT = Cost.REQUESTS, Cost.INPUT_TOKENS, Cost.OUTPUT_TOKENS
_GCRA = StepKind.GCRA


def settlement(
    decision: Decision,
    usage: Usage | None,
    *,
    now_us: int | None,
    sighting: Sighting | None = None,
) -> Settlement | None:
    """Corrections for every reservation that was charged, and what the account's window counts;
    None when there is nothing to do.

    `usage` None means that nothing was used (the upstream was never reached or failed): token
    reservations are credited. Usage whose tokens are unknown leaves the estimate standing.
    """
    corrections = []
    applied = decision.applied
    for planned, result in zip(decision.plan, decision.results, strict=False):
        limit = planned.limit
        if limit.cost is _REQUESTS:
            continue
        step = planned.step
        effect = step.effect
        if not (applied if effect is _ENFORCE else (effect is _SHADOW and result.allowed)):
            continue
        delta_us = step.amount  # of a lease: how many are freed
        if step.kind is _GCRA:
            used = 0 if usage is None else used_tokens(limit, usage)
            if used is None:
                continue  # the estimate has to stand
            delta_us = increment_us(used, planned.quota) - delta_us
            if delta_us == 0:
                continue
        corrections.append(
            Correction(step.tag, step.field, step.kind, effect, delta_us, result.level, step.ttl_us)
        )
    if not corrections and sighting is None:
        return None
    return Settlement(decision.decision_id, tuple(corrections), now_us, sighting)


def used_tokens(limit: Limit, usage: Usage) -> int | None:
    """Tokens that count for `limit`: cached input weighs as the policy says, rounded up."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    used_input = usage.input_tokens or 0
    if usage.cached_input_tokens:
        cached = min(usage.cached_input_tokens, used_input)
        used_input += -int(-cached * limit.cached_input_weight // 1) - cached
    if limit.cost is _INPUT:
        return used_input
    if limit.cost is _OUTPUT:
        return usage.output_tokens or 0
    return used_input + (usage.output_tokens or 0)
