"""Small charges for the stores' tests."""

from __future__ import annotations

import itertools

from gateway.core.gcra import increment_us, tolerance_us
from gateway.model import SECOND_US, Charge, Correction, Effect, Quota, Step, StepKind, StepResult

MINUTE_US = 60 * SECOND_US
NOW_US = 1_800_000_000 * SECOND_US
TAG = "a:acc_1"
PER_HOUR = Quota(10, 3600 * SECOND_US, 10)  # so slow that nothing drains during a test
_ids = itertools.count(1)


def gcra(
    field: str = "rpm",
    *,
    tag: str = TAG,
    quota: Quota = PER_HOUR,
    cost: int = 1,
    effect: Effect = Effect.ENFORCE,
) -> Step:
    amount, tolerance = increment_us(cost, quota), tolerance_us(quota)
    return Step(tag, field, StepKind.GCRA, effect, amount, tolerance, 2 * tolerance)


def lease(
    field: str = "parallel",
    *,
    tag: str = TAG,
    most: int = 2,
    count: int = 1,
    ttl_us: int = 10 * MINUTE_US,
    effect: Effect = Effect.ENFORCE,
) -> Step:
    return Step(tag, field, StepKind.LEASE, effect, count, most, ttl_us)


def charge(
    *steps: Step,
    lease_id: str | None = None,
    account_id: str | None = None,
    version: int = 0,
    now_us: int | None = NOW_US,
) -> Charge:
    return Charge(lease_id or f"lease-{next(_ids)}", account_id, version, steps, now_us)


def look(step: Step) -> Step:
    """The same step, only looking: its result tells the level."""
    effect = Effect.LOOK_SHADOW if step.effect.is_shadow else Effect.LOOK
    return Step(step.tag, step.field, step.kind, effect, 0, step.ceiling, step.ttl_us)


def correction(step: Step, result: StepResult, delta_us: int) -> Correction:
    return Correction(
        step.tag, step.field, step.kind, step.effect, delta_us, result.level, step.ttl_us
    )
