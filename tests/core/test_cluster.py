"""What a cluster's limits make of one of its members."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import gcra
from gateway.core.assess import assess
from gateway.core.cluster import is_counted, known_before_us, quota_of, reserve_us
from gateway.core.judge import MAX_COARSE_US, judge, own_limits
from gateway.model import (
    SECOND_US,
    ChargeReply,
    ClusterTerms,
    Cost,
    Grant,
    Level,
    Limit,
    Quota,
    SignalSpec,
    StepResult,
    Subject,
    Verdict,
)

from .builders import FACTS, IDENTITY, NOW_US, SIGNALS, SUBJECT, limit, policy

DAY_US = 86_400 * SECOND_US
NOTHING = Quota(0, DAY_US, 0)
WIDE, TIGHT = Quota(2_000, DAY_US, 200), Quota(300, DAY_US, 30)
TERMS = ClusterTerms(
    {"watched": Quota(20_000, DAY_US, 2_000), "suspected": TIGHT, "confirmed": NOTHING},
    ((0.6, WIDE), (0.9, Quota(100, DAY_US, 10))),
    jitter=0.0,
    floor_us=30 * DAY_US,
)
MEMBER = replace(
    SUBJECT, cluster_id="c_1", cluster_state="suspected", cluster_size=9, cluster_since_us=NOW_US
)
WITH_CLUSTER = (*SIGNALS, SignalSpec("cluster_id", str, True, lambda f, s: s.cluster_id, ""))


def by_cluster(**changes: object) -> Limit:
    plain = limit("cluster-requests", scope="c", scope_signal=3, cluster=TERMS, is_public=False)
    return replace(plain, **{"quota": None, **changes})  # type: ignore[arg-type]


def plan_of(one: Limit, subject: Subject) -> list[tuple[str, Quota]]:
    plan = assess(policy(one, signals=WITH_CLUSTER), FACTS, subject).plan
    return [(planned.step.tag, planned.quota) for planned in plan]


@pytest.mark.parametrize(
    ("state", "suspicion", "expected"),
    [
        pytest.param("watched", None, Quota(20_000, DAY_US, 2_000), id="a state alone"),
        pytest.param(None, 0.6, WIDE, id="a suspicion alone, at its very edge"),
        pytest.param(None, 0.59, None, id="below every band, and no state"),
        pytest.param("watched", 0.7, WIDE, id="suspicion is the tighter"),
        pytest.param("suspected", 0.7, TIGHT, id="the state is the tighter"),
        pytest.param("suspected", 1.0, Quota(100, DAY_US, 10), id="the highest band"),
        pytest.param("confirmed", 0.0, NOTHING, id="nothing at all"),
        pytest.param("confirmed", 1.0, NOTHING, id="nothing is the tightest"),
    ],
)
def test_the_tighter_of_state_and_suspicion_holds(
    state: str | None, suspicion: float | None, expected: Quota | None
) -> None:
    assert quota_of(TERMS, replace(MEMBER, cluster_state=state, suspicion=suspicion)) == expected


@given(
    low=st.floats(0, 1), high=st.floats(0, 1), state=st.sampled_from(["watched", "suspected", None])
)
def test_a_higher_suspicion_never_lets_more_pass(
    low: float, high: float, state: str | None
) -> None:
    low, high = sorted((low, high))
    less = quota_of(TERMS, replace(MEMBER, cluster_state=state, suspicion=high))
    more = quota_of(TERMS, replace(MEMBER, cluster_state=state, suspicion=low))
    if more is not None:
        assert less is not None
        assert less.limit <= more.limit


@pytest.mark.parametrize("scope", ["c", "a"], ids=["cluster", "account and cluster"])
@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(replace(MEMBER, cluster_id=None, cluster_state=None), id="not linked"),
        pytest.param(replace(MEMBER, cluster_state="dismissed", suspicion=1.0), id="dismissed"),
    ],
)
def test_who_is_in_no_cluster_has_no_limit_by_cluster(subject: Subject, scope: str) -> None:
    one = by_cluster(scope=scope, scope_signal=3 if scope == "c" else 0, quota=Quota(1, DAY_US, 1))
    assert not is_counted(subject)
    assert plan_of(one, subject) == []


def test_a_state_without_a_quota_has_the_limit_s_own_or_none() -> None:
    terms = replace(TERMS, states={"suspected": TIGHT}, suspicion=())
    watched = replace(MEMBER, cluster_state="watched")
    assert plan_of(by_cluster(cluster=terms), watched) == []
    assert plan_of(by_cluster(cluster=terms, quota=WIDE), watched) == [("c:c_1", WIDE)]


@pytest.mark.parametrize("cost", list(Cost))
def test_a_quota_of_nothing_refuses_whatever_is_asked(cost: Cost) -> None:
    nothing = NOTHING if cost is not Cost.CONCURRENCY else Quota(0, 0, 0)
    terms = replace(TERMS, states={"confirmed": nothing}, suspicion=())
    compiled = policy(by_cluster(cluster=terms, cost=cost), signals=WITH_CLUSTER)
    confirmed = replace(MEMBER, cluster_state="confirmed")
    facts = replace(FACTS, estimated_input_tokens=0, estimated_output_tokens=0)
    assessment = assess(compiled, facts, confirmed)
    (planned,) = assessment.plan
    assert planned.step.amount > planned.step.ceiling == 0
    reply = ChargeReply(NOW_US, (StepResult(False, 0),))
    decision = judge(compiled, facts, IDENTITY, assessment, reply)
    assert decision.verdict is Verdict.THROTTLE
    assert decision.retry_after_us == MAX_COARSE_US


@pytest.mark.parametrize(
    ("wait_us", "told_s"),
    [(1, 1), (SECOND_US, 1), (SECOND_US + 1, 2), (288 * SECOND_US, 512), (DAY_US, 65_536)],
)
def test_the_wait_for_a_cluster_tells_its_power_of_two_only(wait_us: int, told_s: int) -> None:
    compiled = policy(by_cluster(), signals=WITH_CLUSTER)
    assessment = assess(compiled, FACTS, MEMBER)
    step = assessment.plan[0].step
    level = NOW_US + step.ceiling - step.amount + wait_us
    reply = ChargeReply(NOW_US, (StepResult(False, level),))
    decision = judge(compiled, FACTS, IDENTITY, assessment, reply)
    assert decision.retry_after_us == told_s * SECOND_US


@pytest.mark.parametrize(("scope", "signal"), [("c", 3), ("a", 0), ("o", 2)])
def test_a_caller_is_never_told_how_a_limit_with_a_cluster_in_it_stands(
    scope: str, signal: int
) -> None:
    hidden = by_cluster(scope=scope, scope_signal=signal)
    compiled = policy(hidden, limit("own"), signals=WITH_CLUSTER)
    assessment = assess(compiled, FACTS, MEMBER)
    results = tuple(StepResult(True, NOW_US) for _ in assessment.plan)
    assert len(results) == 2
    decision = judge(
        compiled, FACTS, IDENTITY, assessment, ChargeReply(NOW_US, results, applied=True)
    )
    assert [state.name for state in own_limits(decision)] == ["own"]


# ── who goes first ───────────────────────────────────────────────────────────────────────────

OLD = replace(MEMBER, created_us=NOW_US - 31 * DAY_US)


@pytest.mark.parametrize(
    ("changes", "expected_days"),
    [
        pytest.param({}, None, id="nobody recorded anything"),
        pytest.param({"created_us": NOW_US - 40 * DAY_US}, 40, id="age"),
        pytest.param({"created_us": NOW_US + DAY_US}, -1, id="came after the evidence"),
        pytest.param(
            {"grants": (Grant(Level.PAYMENT, NOW_US - 7 * DAY_US),)}, 7, id="a verified payment"
        ),
        pytest.param(
            {"grants": (Grant(Level.PHONE, NOW_US - 7 * DAY_US),)}, None, id="a phone is no spend"
        ),
        pytest.param(
            {
                "created_us": NOW_US - 3 * DAY_US,
                "grants": (Grant(Level.IDENTITY, NOW_US - 2 * DAY_US),),
            },
            3,
            id="the longer of the two",
        ),
        pytest.param({"created_us": 1, "cluster_since_us": None}, None, id="no evidence was dated"),
        pytest.param({"created_us": 1, "cluster_id": None}, None, id="not linked"),
    ],
)
def test_how_long_a_member_is_known_before_its_cluster(
    changes: dict[str, object], expected_days: int | None
) -> None:
    before_us = known_before_us(replace(MEMBER, **changes))  # type: ignore[arg-type]
    assert before_us == (None if expected_days is None else expected_days * DAY_US)


@pytest.mark.parametrize(
    ("subject", "units"),
    [
        pytest.param(OLD, 3, id="one in a hundred"),
        pytest.param(replace(OLD, created_us=NOW_US - 30 * DAY_US), 3, id="the very month"),
        pytest.param(replace(OLD, created_us=NOW_US - 30 * DAY_US + 1), 0, id="just too young"),
        pytest.param(MEMBER, 0, id="of unknown age"),
    ],
)
def test_the_reserve_is_one_in_a_hundred_for_those_who_were_there(
    subject: Subject, units: int
) -> None:
    assert reserve_us(TERMS, TIGHT, subject) == gcra.increment_us(units, TIGHT)


def test_there_is_a_reserve_of_one_at_least_and_none_of_nothing() -> None:
    small = Quota(20, DAY_US, 2)
    assert reserve_us(TERMS, small, OLD) == gcra.increment_us(1, small)
    assert reserve_us(TERMS, NOTHING, OLD) == 0
    assert reserve_us(replace(TERMS, floor_us=None), TIGHT, OLD) == 0


def test_a_flood_cannot_keep_an_old_member_out_nor_let_the_cluster_exceed_its_rate() -> None:
    """A day in which the campaign asks every second and an old member every ten minutes."""
    compiled = policy(by_cluster(), signals=WITH_CLUSTER)
    young, old = (assess(compiled, FACTS, one).plan[0].step for one in (MEMBER, OLD))
    tat_us, served = 0, {"young": 0, "old": 0}
    for second in range(86_400):
        now_us = NOW_US + second * SECOND_US
        for who, step, every in (("young", young, 1), ("old", old, 600)):
            if second % every == 0:
                result = gcra.step(tat_us, now_us, step.amount, step.ceiling)
                tat_us = result.level
                served[who] += result.allowed
    assert served["old"] == 144
    assert sum(served.values()) <= TIGHT.limit + TIGHT.burst + 3
