"""Findings and counters into one decision."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from gateway.core.assess import assess
from gateway.core.judge import (
    judge,
    judge_unidentified,
    judge_unlisted,
    judge_without_store,
    own_limits,
)
from gateway.model import (
    SECOND_US,
    ChargeReply,
    Cost,
    Decision,
    Level,
    Limit,
    Mode,
    OnStoreError,
    Policy,
    Quota,
    RequestFacts,
    Rule,
    Status,
    StepResult,
    Verdict,
)

from .builders import FACTS, IDENTITY, NOW_US, SUBJECT, limit, policy, rule


def decided(compiled: Policy, *allowed: bool, shadow_all: bool = False) -> Decision:
    assessment = assess(compiled, FACTS, SUBJECT)
    results = tuple(StepResult(ok, NOW_US if ok else NOW_US + 60 * SECOND_US) for ok in allowed)
    reply = ChargeReply(NOW_US, results, applied=all(allowed), shadow_all=shadow_all)
    return judge(compiled, FACTS, IDENTITY, assessment, reply)


def test_without_findings_a_request_is_allowed() -> None:
    decision = decided(policy(limit("l")), True)
    assert (decision.verdict, decision.reason, decision.status) == (Verdict.ALLOW, "ok", 200)
    assert decision.is_served


def test_the_worst_enforced_finding_wins_whatever_the_order() -> None:
    rules = [
        rule("wait", Verdict.THROTTLE, retry_after_us=SECOND_US),
        rule("prove", Verdict.VERIFY, level=Level.EMAIL),
        rule("prove-more", Verdict.VERIFY, level=Level.IDENTITY),
    ]
    reasons = {decided(policy(*order)).reason for order in permutations(rules)}
    assert reasons == {"prove-more"}


def test_a_shadow_finding_never_changes_the_verdict_and_shows_in_would_be() -> None:
    decision = decided(policy(rule("no", Verdict.DENY, Mode.SHADOW)))
    assert (decision.verdict, decision.would_be) == (Verdict.ALLOW, Verdict.DENY)


def test_the_kill_switch_allows_what_would_be_refused_and_says_so() -> None:
    decision = decided(policy(rule("no", Verdict.DENY), limit("l")), False, shadow_all=True)
    assert (decision.verdict, decision.would_be) == (Verdict.ALLOW, Verdict.DENY)
    assert decision.shadow_all
    assert decision.reason == "ok"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(Status.BANNED, "account_banned"), (Status.PROVISIONAL, "unknown_credential")],
)
def test_the_kill_switch_lets_nobody_in_who_may_not_call_at_all(
    status: Status, reason: str
) -> None:
    compiled, subject = policy(limit("l")), replace(SUBJECT, status=status)
    assessment = assess(compiled, FACTS, subject)
    results = tuple(StepResult(True, NOW_US) for _ in assessment.plan)
    reply = ChargeReply(NOW_US, results, applied=True, shadow_all=True)
    decision = judge(compiled, FACTS, replace(IDENTITY, subject=subject), assessment, reply)
    assert (decision.verdict, decision.reason) == (Verdict.DENY, reason)


def test_the_strictest_limit_is_the_one_reported() -> None:
    slow = limit("slow", Quota(1, 60 * SECOND_US, 1))
    fast = limit("fast", Quota(60, 60 * SECOND_US, 60))
    decision = decided(policy(fast, slow), False, False)
    assert decision.reason == "slow"
    assert decision.retry_after_us == 60 * SECOND_US


def test_a_cost_that_can_never_pass_is_the_strictest_and_has_no_wait() -> None:
    never = limit("never", Quota(1, SECOND_US, 1), cost=Cost.REQUESTS)
    compiled = policy(never, limit("later"))
    decision = judge(
        compiled,
        FACTS,
        IDENTITY,
        assess(compiled, _with_items(5), SUBJECT),
        ChargeReply(NOW_US, (StepResult(False, 0), StepResult(False, NOW_US + 10**9))),
    )
    assert (decision.reason, decision.retry_after_us) == ("never", -1)


def test_deny_carries_its_status() -> None:
    assert decided(policy(rule("region", Verdict.DENY, status=451))).status == 451


@pytest.mark.parametrize(
    ("part", "verdict", "reason"),
    [
        (limit("l", on_store_error=OnStoreError.ALLOW), Verdict.ALLOW, "ok"),
        (limit("l", on_store_error=OnStoreError.DENY), Verdict.THROTTLE, "store_unavailable"),
        (
            limit("l", on_store_error=OnStoreError.DENY, mode=Mode.SHADOW),
            Verdict.ALLOW,
            "ok",
        ),
        (rule("no", Verdict.DENY), Verdict.DENY, "no"),
    ],
)
def test_without_store_each_limit_says_what_it_was_told_to(
    part: Rule | Limit, verdict: Verdict, reason: str
) -> None:
    compiled = policy(part)
    decision = judge_without_store(compiled, FACTS, IDENTITY, assess(compiled, FACTS, SUBJECT))
    assert (decision.verdict, decision.reason, decision.degraded) == (verdict, reason, True)
    if reason == "store_unavailable":
        assert (decision.status, decision.retry_after_us) == (429, SECOND_US)


@pytest.mark.parametrize(
    ("on_error", "verdict"),
    [(OnStoreError.DENY, Verdict.THROTTLE), (OnStoreError.ALLOW, Verdict.ALLOW)],
)
def test_a_caller_who_cannot_be_identified_meets_the_policys_own_choice(
    on_error: OnStoreError, verdict: Verdict
) -> None:
    decision = judge_unidentified(policy(on_store_error=on_error), FACTS, IDENTITY)
    assert decision.verdict is verdict
    assert decision.degraded


def test_an_unlisted_route_is_refused_even_by_a_policy_all_in_shadow() -> None:
    decision = judge_unlisted(policy(), FACTS)
    assert (decision.verdict, decision.reason) == (Verdict.DENY, "route_not_listed")


def test_a_caller_sees_its_own_enforced_limits_only() -> None:
    compiled = policy(
        limit("mine"),
        limit("theirs", scope="g", scope_signal=None),
        limit("quiet", mode=Mode.SHADOW),
    )
    decision = decided(compiled, True, True, True)
    assert [state.name for state in own_limits(decision)] == ["mine"]


def test_a_decision_without_the_stores_answer_tells_no_limits() -> None:
    compiled = policy(limit("mine"))
    assessment = assess(compiled, FACTS, IDENTITY.subject)
    assert own_limits(judge_without_store(compiled, FACTS, IDENTITY, assessment)) == []


def _with_items(items: int) -> RequestFacts:
    return replace(FACTS, items=items)
