"""The terms of a verification: what they compile to, and whom they let pass when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.assess import assess
from gateway.core.judge import judge
from gateway.model import (
    SECOND_US,
    ChargeReply,
    Decision,
    Grant,
    Identity,
    Level,
    Mode,
    Policy,
    Quota,
    StepResult,
    Subject,
    Verdict,
)

from ..core.builders import FACTS, NOW_US, SUBJECT
from .builders import HEAD, compiled, problems, rule

HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
WHEN = "{verification: {below: phone}}"


def policy_of(terms: str) -> Policy:
    return compiled(HEAD + "rules:\n" + rule("ask", WHEN, then=f"{{verify: phone, {terms}}}"))


def decide(policy: Policy, subject: Subject, *, passes: bool = True) -> Decision:
    """The decision where every limit passes, or none does."""
    assessment = assess(policy, FACTS, subject)
    results = tuple([StepResult(passes, 0) for _ in assessment.plan])
    reply = ChargeReply(FACTS.received_us, results, passes)
    return judge(policy, FACTS, Identity(subject, "key_1"), assessment, reply)


def test_a_rule_without_terms_is_one_rule_and_grants_a_year() -> None:
    policy = compiled(HEAD + "rules:\n" + rule("ask", WHEN, then="{verify: phone}"))
    assert [one.name for one in policy.rules] == ["ask"]
    assert policy.limits == ()
    assert policy.asks["ask"].expires_us == 365 * DAY_US
    assert policy.asks["ask"].is_enforced


def test_a_rule_says_how_many_accounts_one_person_settles() -> None:
    assert policy_of("max_accounts: 1").asks["ask"].max_accounts == 1
    assert policy_of("expires: 30d").asks["ask"].max_accounts is None
    text = HEAD + "rules:\n" + rule("ask", WHEN, then="{deny: {}, max_accounts: 1}")
    assert any("belongs to verify" in one for one in problems(text))
    with_none = rule("ask", WHEN, then="{verify: phone, max_accounts: 0}")
    assert problems(HEAD + "rules:\n" + with_none)


def test_shadow_asks_are_not_in_force() -> None:
    text = HEAD.replace("enforce", "shadow") + "rules:\n"
    policy = compiled(text + rule("ask", WHEN, then="{verify: phone, grace: 1h}"))
    assert {one.mode for one in policy.rules} == {Mode.SHADOW}
    assert not any(ask.is_enforced for ask in policy.asks.values())


@pytest.mark.parametrize(
    ("waited_us", "verdict", "would_be"),
    [
        pytest.param(None, Verdict.ALLOW, Verdict.VERIFY, id="never asked"),
        pytest.param(23 * HOUR_US, Verdict.ALLOW, Verdict.VERIFY, id="in the grace"),
        pytest.param(24 * HOUR_US, Verdict.VERIFY, Verdict.VERIFY, id="after the grace"),
    ],
)
def test_a_grace_serves_until_it_is_over(
    waited_us: int | None, verdict: Verdict, would_be: Verdict
) -> None:
    asked_us = None if waited_us is None else NOW_US - waited_us
    decision = decide(policy_of("grace: 24h"), replace(SUBJECT, asked_us=asked_us))
    assert (decision.verdict, decision.would_be) == (verdict, would_be)


def test_beyond_the_pace_of_a_grace_verification_is_asked_for() -> None:
    policy = policy_of("grace: 24h at 60/hour")
    inside = replace(SUBJECT, asked_us=NOW_US - HOUR_US)
    assert decide(policy, inside).verdict is Verdict.ALLOW
    beyond = decide(policy, inside, passes=False)
    assert (beyond.verdict, beyond.level, beyond.reason) == (
        Verdict.VERIFY,
        Level.PHONE,
        "ask.pace",
    )
    assert policy.asks["ask.pace"].level is Level.PHONE


def test_a_waiting_account_keeps_its_trickle() -> None:
    policy = policy_of("trickle: 10/hour")
    assert policy.rules == ()
    assert policy.limits[0].quota == Quota(10, HOUR_US, 1)
    assert decide(policy, SUBJECT).verdict is Verdict.ALLOW
    beyond = decide(policy, SUBJECT, passes=False)
    assert (beyond.verdict, beyond.reason, beyond.retry_after_us) == (Verdict.VERIFY, "ask", 0)


def test_a_grace_in_requests_begins_full() -> None:
    assert policy_of("grace: 100 requests").limits[0].quota == Quota(100, 30 * DAY_US, 100)
    both = policy_of("'grace': 100 requests, trickle: 10/hour").limits[0].quota
    assert both == Quota(10, HOUR_US, 100)


def test_who_passed_anything_is_left_alone_for_the_cooldown() -> None:
    policy = policy_of("cooldown: 7d")
    mail = Grant(Level.EMAIL, NOW_US - 6 * DAY_US)
    assert decide(policy, replace(SUBJECT, grants=(mail,))).verdict is Verdict.ALLOW
    older = replace(mail, granted_us=NOW_US - 7 * DAY_US)
    assert decide(policy, replace(SUBJECT, grants=(older,))).verdict is Verdict.VERIFY


def test_who_passed_is_asked_nothing_whatever_the_terms() -> None:
    granted = replace(SUBJECT, grants=(Grant(Level.PHONE, NOW_US - DAY_US),), asked_us=1)
    for terms in ("grace: 24h at 60/hour", "trickle: 10/hour", "grace: 5 requests", "expires: 2d"):
        assert decide(policy_of(terms), granted, passes=False).would_be is Verdict.ALLOW


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        pytest.param("grace: soon", "must be a duration", id="no duration"),
        pytest.param("grace: 24h at lunch", "is no quota", id="no quota"),
        pytest.param("grace: 0 requests", "must be from 1", id="no requests"),
        pytest.param("trickle: 10 at once", "needs a period", id="concurrency"),
        pytest.param("expires: 9999d", "must be from 1s to 3650d", id="too long"),
    ],
)
def test_terms_that_cannot_hold_are_errors(terms: str, said: str) -> None:
    found = problems(HEAD + "rules:\n" + rule("ask", WHEN, then=f"{{verify: phone, {terms}}}"))
    assert any(said in problem for problem in found), found


def test_terms_belong_to_verify() -> None:
    found = problems(HEAD + "rules:\n" + rule("no", WHEN, then="{deny: {}, grace: 1h}"))
    assert any("belongs to verify" in problem for problem in found), found
