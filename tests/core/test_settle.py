"""From reservation to truth."""

from __future__ import annotations

import pytest

from gateway.core.assess import assess
from gateway.core.estimate import MAX_MODELS, EstimatorState, TokenEstimator
from gateway.core.gcra import increment_us
from gateway.core.judge import judge
from gateway.core.settle import settlement, used_tokens
from gateway.model import (
    SECOND_US,
    ChargeReply,
    Cost,
    Decision,
    Policy,
    Quota,
    StepKind,
    StepResult,
    Usage,
)

from .builders import FACTS, IDENTITY, NOW_US, SUBJECT, limit, policy

TOKENS = Quota(60_000, 60 * SECOND_US, 60_000)


def charged(compiled: Policy, *, applied: bool = True) -> Decision:
    assessment = assess(compiled, FACTS, SUBJECT)
    results = tuple(StepResult(applied, NOW_US + p.step.amount) for p in assessment.plan)
    reply = ChargeReply(NOW_US, results, applied=applied)
    return judge(compiled, FACTS, IDENTITY, assessment, reply)


def test_the_estimate_is_replaced_by_the_true_usage() -> None:
    decision = charged(policy(limit("t", TOKENS, cost=Cost.TOTAL_TOKENS)))
    due = settlement(decision, Usage(300, 0, 200), now_us=None)
    assert due is not None
    (correction,) = due.corrections
    assert correction.delta_us == increment_us(500, TOKENS) - increment_us(150, TOKENS)
    assert correction.level_us == NOW_US + increment_us(150, TOKENS)


def test_nothing_used_gives_the_whole_reservation_back() -> None:
    decision = charged(policy(limit("t", TOKENS, cost=Cost.TOTAL_TOKENS)))
    due = settlement(decision, None, now_us=None)
    assert due is not None
    assert due.corrections[0].delta_us == -increment_us(150, TOKENS)


def test_unknown_usage_leaves_the_estimate_standing() -> None:
    decision = charged(policy(limit("t", TOKENS, cost=Cost.TOTAL_TOKENS)))
    assert settlement(decision, Usage(), now_us=None) is None


def test_requests_are_never_given_back_and_leases_always_are() -> None:
    compiled = policy(limit("r"), limit("c", Quota(4, 0, 4), cost=Cost.CONCURRENCY))
    due = settlement(charged(compiled), None, now_us=None)
    assert due is not None
    assert [correction.kind for correction in due.corrections] == [StepKind.LEASE]


def test_what_was_not_charged_is_not_settled() -> None:
    compiled = policy(limit("t", TOKENS, cost=Cost.TOTAL_TOKENS))
    assert settlement(charged(compiled, applied=False), Usage(1, 0, 1), now_us=None) is None


@pytest.mark.parametrize(
    ("cost", "weight", "expected"),
    [
        (Cost.TOTAL_TOKENS, 1.0, 150),
        (Cost.INPUT_TOKENS, 1.0, 100),
        (Cost.INPUT_TOKENS, 0.1, 28),
        (Cost.INPUT_TOKENS, 0.0, 20),
        (Cost.OUTPUT_TOKENS, 0.1, 50),
    ],
)
def test_cached_input_weighs_as_the_policy_says(cost: Cost, weight: float, expected: int) -> None:
    weighed = limit("t", TOKENS, cost=cost, cached_input_weight=weight)
    assert used_tokens(weighed, Usage(100, 80, 50)) == expected


def test_more_cached_than_sent_never_counts_below_nothing() -> None:
    weighed = limit("t", TOKENS, cost=Cost.TOTAL_TOKENS, cached_input_weight=0.0)
    assert used_tokens(weighed, Usage(100, 180, 50)) == 50


def test_estimates_follow_the_real_usage_of_each_model() -> None:
    estimator = TokenEstimator()
    for _ in range(500):
        estimator.learn("dense", 2000, Usage(1000, 0, 50))
    assert estimator.estimate("dense", 2000, None) == pytest.approx((1000, 50), rel=0.02)
    assert estimator.estimate("other", 2000, None) == (477, 400)


def test_an_output_estimate_never_exceeds_what_the_caller_allows() -> None:
    assert TokenEstimator().estimate("m", 100, 16)[1] == 16


def test_the_estimator_is_bounded_whatever_models_callers_name() -> None:
    estimator = TokenEstimator()
    for number in range(3 * MAX_MODELS):
        estimator.learn(f"m{number}", 1000, Usage(250, 0, 10))
    assert len(estimator.snapshot().models) == MAX_MODELS


def test_what_an_estimator_has_learnt_can_go_on_in_another() -> None:
    learnt, other = TokenEstimator(), TokenEstimator()
    for number in range(MAX_MODELS + 5):  # the last ones share a calibration
        learnt.learn(f"m{number}", 1000, Usage(250 + number, 0, number))
    other.learn("forgotten", 9, Usage(9, 0, 9))
    other.restore(learnt.snapshot())
    assert other.snapshot() == learnt.snapshot()
    for model in ("m0", "m7", f"m{MAX_MODELS + 1}", "forgotten", None):
        assert other.estimate(model, 4_000, None) == learnt.estimate(model, 4_000, None)


def test_a_snapshot_does_not_change_with_what_is_learnt_later() -> None:
    estimator = TokenEstimator()
    estimator.learn("m", 1000, Usage(250, 0, 10))
    before = estimator.snapshot()
    estimator.learn("m", 9000, Usage(250, 0, 900))
    assert before != estimator.snapshot()


def test_a_restored_estimator_is_bounded_too() -> None:
    estimator = TokenEstimator()
    many = {f"m{number}": (4.0, 10.0) for number in range(3 * MAX_MODELS)}
    estimator.restore(EstimatorState(many, (4.2, 400.0)))
    assert len(estimator.snapshot().models) == MAX_MODELS
