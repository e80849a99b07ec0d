"""How often codes may be asked for and tried, as steps of the store's own limits.

By account, by the caller's network, by destination and over all: whoever asks costs everybody
named there. All or nothing, so that one that is full does not drain the others. And by account and
destination for the day: else one account could keep a stranger's mailbox full of codes, and its
owner from asking for one, for as long as it likes.
"""

from __future__ import annotations

from ..core.gcra import increment_us, tolerance_us
from ..model import SECOND_US, Charge, Effect, Quota, Step, StepKind

HOUR_US = 3600 * SECOND_US
SLACK_US = 60 * SECOND_US
CODES_PER_ACCOUNT = Quota(6, HOUR_US, 3)
CODES_PER_NETWORK = Quota(20, HOUR_US, 10)
CODES_PER_DESTINATION = Quota(6, HOUR_US, 3)
CODES_PER_ACCOUNT_AND_DESTINATION = Quota(6, 24 * HOUR_US, 6)
TRIES_PER_ACCOUNT = Quota(30, HOUR_US, 15)
TRIES_PER_NETWORK = Quota(60, HOUR_US, 30)
VISITS_PER_NETWORK = Quota(120, 60 * SECOND_US, 60)
SESSIONS_PER_ACCOUNT = Quota(20, HOUR_US, 10)
APPEALS_PER_ACCOUNT = Quota(5, 24 * HOUR_US, 5)
DEFAULT_CODES_PER_HOUR = 3_600  # over all accounts


def _step(tag: str, field: str, quota: Quota) -> Step:
    tolerance = tolerance_us(quota)
    return Step(
        tag,
        field,
        StepKind.GCRA,
        Effect.ENFORCE,
        increment_us(1, quota),
        tolerance,
        tolerance + SLACK_US,
    )


def code_brakes(
    lease_id: str, *, account_id: str, network: str, proof: str, codes_per_hour: int
) -> Charge:
    """For one code by mail or message."""
    overall = Quota(codes_per_hour, HOUR_US, max(10, codes_per_hour // 60))
    steps = (
        _step(f"a:{account_id}", "verify-codes", CODES_PER_ACCOUNT),
        _step(f"a:{account_id}", f"verify-codes:{proof}", CODES_PER_ACCOUNT_AND_DESTINATION),
        _step(f"n:{network}", "verify-codes", CODES_PER_NETWORK),
        _step(f"v:{proof}", "verify-codes", CODES_PER_DESTINATION),
        _step("g:verify", "verify-codes", overall),
    )
    return Charge(lease_id, None, 0, steps)


def try_brakes(lease_id: str, *, account_id: str, network: str) -> Charge:
    """For one attempt at a code."""
    steps = (
        _step(f"a:{account_id}", "verify-tries", TRIES_PER_ACCOUNT),
        _step(f"n:{network}", "verify-tries", TRIES_PER_NETWORK),
    )
    return Charge(lease_id, None, 0, steps)


def visit_brakes(lease_id: str, *, network: str) -> Charge:
    """For one look at a page, whoever's it is."""
    return Charge(lease_id, None, 0, (_step(f"n:{network}", "verify-visits", VISITS_PER_NETWORK),))


def session_brakes(lease_id: str, *, account_id: str) -> Charge:
    """For one visit to a provider, which costs the operator money."""
    return Charge(
        lease_id, None, 0, (_step(f"a:{account_id}", "verify-sessions", SESSIONS_PER_ACCOUNT),)
    )


def appeal_brakes(lease_id: str, *, account_id: str) -> Charge:
    return Charge(
        lease_id, None, 0, (_step(f"a:{account_id}", "verify-appeals", APPEALS_PER_ACCOUNT),)
    )
