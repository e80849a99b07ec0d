"""The generic cell rate algorithm by virtual scheduling, in integer microseconds.

Laws, held by property tests here and in the store's Lua:
  - refusing changes nothing: refusing twice equals refusing once;
  - admitted cost over any window W is at most quota · W + burst (debits at settlement aside);
  - a credit gives back at most what has not drained yet, so the bound survives settlement;
  - raising a quota never refuses more.

A key is one number, its theoretical arrival time (TAT): the instant at which everything
charged so far will have drained. Source: ITU-T I.371 (03/2004), Annex A.1, GCRA(T, tau).
"""

from __future__ import annotations

from ..model import Quota, StepResult


def increment_us(cost: int, quota: Quota) -> int:
    """What `cost` units add to the TAT; 0 for a cost of 0.

    Multiply first: 40M tokens a minute are 1.5 us each, and a whole-us interval would allow
    half as many again. Rounded up, so that rounding never admits more. Of a quota of 0 every
    unit is 1 us, which its tolerance of 0 never lets pass.
    """
    if quota.limit == 0:
        return cost
    return -(-cost * quota.period_us // quota.limit)


def tolerance_us(quota: Quota) -> int:
    """How far a TAT may run ahead of now: the burst as time, but never less than one unit, so
    that a burst of 1 passes one where the interval is no whole number of us (7/min). A quota
    of 0 has none."""
    if quota.limit == 0:
        return 0
    return max(quota.burst * quota.period_us // quota.limit, increment_us(1, quota))


def step(tat_us: int, now_us: int, amount_us: int, tolerance: int) -> StepResult:
    """Advance one TAT by `amount_us`, or refuse and change nothing.

    `tat_us` is 0 for a key never seen. An amount of 0 only looks and always passes. An amount
    above the tolerance can never pass. The result's level is the new TAT, or the old one.
    """
    if amount_us == 0:
        return StepResult(True, tat_us)
    advanced = max(tat_us, now_us) + amount_us
    if advanced - now_us > tolerance:
        return StepResult(False, tat_us)
    return StepResult(True, advanced)


def correct(tat_us: int, now_us: int, delta_us: int, level_us: int) -> int:
    """The TAT after settling a reservation that had left it at `level_us`.

    A debit (`delta_us` > 0) has no limit. A credit is cut to what of the reservation has not
    drained by now, and never moves the TAT before now.
    """
    # Comparisons: each min or max costs as much as all the rest.
    if delta_us >= 0:
        return (tat_us if tat_us > now_us else now_us) + delta_us
    ahead_us = level_us - now_us
    if ahead_us <= 0 or tat_us <= now_us:
        return tat_us
    credit = -delta_us if -delta_us < ahead_us else ahead_us
    return tat_us - credit if tat_us - credit > now_us else now_us


def remaining(tat_us: int, now_us: int, quota: Quota) -> int:
    """Units that would pass at once now, 0..burst; 0 while in debt."""
    if quota.limit == 0:
        return 0
    free_us = tolerance_us(quota) - max(0, tat_us - now_us)
    return max(0, min(quota.burst, free_us * quota.limit // quota.period_us))


def retry_after_us(tat_us: int, now_us: int, amount_us: int, tolerance: int) -> int:
    """How long until `amount_us` would pass if nobody else came; 0 now; -1 never."""
    if amount_us > tolerance:
        return -1
    return max(0, max(tat_us, now_us) + amount_us - tolerance - now_us)
