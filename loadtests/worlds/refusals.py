"""What a gateway answers instead of the model API, as far as a sender can see it."""

from __future__ import annotations

from dataclasses import dataclass

from ...model import SECOND_US, Decision, Level, Policy, Verdict

REFUSED_S = 0.02  # until a refusal is there


@dataclass(frozen=True, slots=True)
class Refusal:
    """`retry_after_s` as the header says, None without one. For a verification `level` is what is
    asked for, `lasts_s` how long passing it holds (None: for ever), and `most_accounts` how many
    accounts one proof of the kind may settle (None: the rule does not say)."""

    verdict: Verdict
    retry_after_s: float | None = None
    level: Level | None = None
    lasts_s: float | None = None
    most_accounts: int | None = None


def refusal_of(decision: Decision, policy: Policy) -> Refusal | None:
    """None where the exchange is served."""
    verdict = decision.verdict
    if verdict is Verdict.ALLOW:
        return None
    if verdict is Verdict.THROTTLE:
        wait_us = decision.retry_after_us
        # As `adapters/render.py` writes Retry-After: whole seconds, none for what never passes.
        return Refusal(verdict, None if wait_us < 0 else max(1.0, float(-(-wait_us // SECOND_US))))
    is_of_user = decision.subject is not None and decision.subject.sub_user is not None
    if verdict is Verdict.VERIFY and decision.level is not None and not is_of_user:
        ask = policy.asks.get(decision.reason)
        lasts_us = None if ask is None else ask.expires_us
        return Refusal(
            verdict,
            level=decision.level,
            lasts_s=None if lasts_us is None else lasts_us / SECOND_US,
            most_accounts=None if ask is None else ask.max_accounts,
        )
    # An account cannot pass what is asked of one of its users.
    return Refusal(Verdict.DENY)
