"""What the core plans before any counter is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.assess import assess
from gateway.core.gcra import increment_us, tolerance_us
from gateway.model import SECOND_US, Cost, Effect, Mode, Quota, Status, StepKind, Subject, Verdict

from .builders import FACTS, SUBJECT, limit, policy, rule

MINUTE_US = 60 * SECOND_US


def test_a_refused_request_only_looks_at_its_limits() -> None:
    refused = assess(policy(rule("no", Verdict.DENY), limit("l")), FACTS, SUBJECT)
    assert [planned.step.effect for planned in refused.plan] == [Effect.LOOK]


def test_a_shadow_rule_does_not_keep_limits_from_being_charged() -> None:
    shadowed = assess(policy(rule("no", Verdict.DENY, Mode.SHADOW), limit("l")), FACTS, SUBJECT)
    assert [planned.step.effect for planned in shadowed.plan] == [Effect.ENFORCE]


def test_a_shadow_limit_is_a_shadow_step() -> None:
    planned = assess(policy(limit("l", mode=Mode.SHADOW)), FACTS, SUBJECT).plan
    assert [p.step.effect for p in planned] == [Effect.SHADOW]


@pytest.mark.parametrize(
    ("changes", "tag", "field"),
    [
        pytest.param({}, "a:acc_1", "l", id="by account"),
        pytest.param({"fields": (1,)}, "a:acc_1", "l:m-1", id="by account and model"),
        pytest.param({"scope": "o", "scope_signal": 2}, "o:org_1", "l", id="by organization"),
        pytest.param({"scope": "g", "scope_signal": None}, "g:l:0", "l", id="global"),
    ],
)
def test_a_limit_is_counted_where_its_key_says(
    changes: dict[str, Any], tag: str, field: str
) -> None:
    (planned,) = assess(policy(limit("l", **changes)), FACTS, SUBJECT).plan
    assert (planned.step.tag, planned.step.field) == (tag, field)


def test_a_limit_by_organization_does_not_concern_an_account_without_one() -> None:
    by_org = policy(limit("l", scope="o", scope_signal=2))
    assert assess(by_org, FACTS, replace(SUBJECT, org_id=None)).plan == ()


def test_an_unknown_credential_is_counted_on_its_network_so_that_it_leaves_no_account_key() -> None:
    stranger = Subject("key_x", status=Status.PROVISIONAL)
    (planned,) = assess(policy(limit("l"), adopts_unknown=True), FACTS, stranger).plan
    assert planned.step.tag == f"n:{FACTS.client_network}"


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        pytest.param(SUBJECT, 10, id="its own quota"),
        pytest.param(replace(SUBJECT, tier="scale"), 500, id="the tier's"),
        pytest.param(replace(SUBJECT, tier="scale", quotas={"l": "7/min"}), 7, id="override"),
        pytest.param(replace(SUBJECT, quotas={"l": "rubbish"}), 10, id="a bad override lifts none"),
        pytest.param(
            replace(SUBJECT, tier="scale", quotas={"l": "9 at once"}), 500, id="nor one of a kind"
        ),
    ],
)
def test_the_quota_is_the_overrides_then_the_tiers_then_the_limits(
    subject: Subject, expected: int
) -> None:
    tiers = {"scale": Quota(500, MINUTE_US, 500)}
    (planned,) = assess(policy(limit("l", tier_quotas=tiers)), FACTS, subject).plan
    assert planned.quota.limit == expected


def test_a_token_estimate_above_the_burst_reserves_the_burst() -> None:
    quota = Quota(60, MINUTE_US, 60)
    (planned,) = assess(policy(limit("l", quota, cost=Cost.TOTAL_TOKENS)), FACTS, SUBJECT).plan
    assert planned.step.amount == tolerance_us(quota) < increment_us(150, quota)


def test_requests_above_the_burst_are_not_cut_so_that_a_batch_cannot_slip_through() -> None:
    quota = Quota(10, MINUTE_US, 10)
    batch = replace(FACTS, items=50)
    (planned,) = assess(policy(limit("l", quota)), batch, SUBJECT).plan
    assert planned.step.amount == 50 * 6 * SECOND_US > planned.step.ceiling


def test_concurrency_takes_a_lease_per_item() -> None:
    held = limit("l", Quota(4, 0, 4), cost=Cost.CONCURRENCY, lease_us=9)
    (planned,) = assess(policy(held), FACTS, SUBJECT).plan
    step = planned.step
    assert (step.kind, step.amount, step.ceiling, step.ttl_us) == (StepKind.LEASE, 1, 4, 9)


@pytest.mark.parametrize(
    ("subject", "credential", "adopts", "reason"),
    [
        (replace(SUBJECT, status=Status.BANNED), "c", True, "account_banned"),
        (Subject("key_x", status=Status.PROVISIONAL), "c", False, "unknown_credential"),
        (Subject("key_x", status=Status.PROVISIONAL), "c", True, None),
        (Subject("anonymous", status=Status.PROVISIONAL), None, True, "missing_credential"),
        (replace(SUBJECT, status=Status.ADOPTED), "c", False, None),
    ],
)
def test_admission(
    subject: Subject, credential: str | None, adopts: bool, reason: str | None
) -> None:
    found = assess(policy(adopts_unknown=adopts), replace(FACTS, credential=credential), subject)
    assert [finding.rule for finding in found.findings] == ([reason] if reason else [])


def test_shards_never_sum_to_more_than_the_quota() -> None:
    spread = limit("l", Quota(100, MINUTE_US, 50), scope="g", scope_signal=None, shards=8)
    (planned,) = assess(policy(spread), FACTS, SUBJECT).plan
    assert planned.quota.limit * 8 <= 100
    assert planned.quota.burst * 8 <= 50
