"""Quotas that lie a little off, by a hash that callers cannot compute."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.jitter import EPOCH_US, Jitter, epoch_of, scaled
from gateway.core.keyed import KeyedHash
from gateway.model import SECOND_US, ClusterTerms, Quota

from .builders import SUBJECT, limit

DAY_US = 86_400 * SECOND_US
KEYED = KeyedHash(b"sixteen bytes and more")
QUOTA = Quota(10_000, DAY_US, 1_000)
LIMIT = limit("cluster-requests", scope="c", cluster=ClusterTerms({}, (), 0.2))
MEMBERS = [replace(SUBJECT, cluster_id=f"c_{number}") for number in range(400)]


def limits_of(jitter: Jitter) -> list[int]:
    return [jitter.apply(QUOTA, LIMIT, member).limit for member in MEMBERS]


def test_the_same_secret_cluster_and_day_give_the_same_quota_everywhere() -> None:
    again = Jitter(KeyedHash(b"sixteen bytes and more"), 20_000)
    assert limits_of(Jitter(KEYED, 20_000)) == limits_of(again)


def test_all_members_of_a_cluster_meet_one_quota() -> None:
    other = replace(MEMBERS[0], account_id="acc_9", tier="scale")
    jitter = Jitter(KEYED, 20_000)
    assert jitter.apply(QUOTA, LIMIT, MEMBERS[0]) == jitter.apply(QUOTA, LIMIT, other)


@pytest.mark.parametrize(
    "other",
    [Jitter(KEYED, 20_001), Jitter(KeyedHash(b"another secret here"), 20_000)],
    ids=["another day", "another secret"],
)
def test_what_was_learnt_is_worth_nothing_elsewhere(other: Jitter) -> None:
    pairs = zip(limits_of(Jitter(KEYED, 20_000)), limits_of(other), strict=True)
    assert sum(here == there for here, there in pairs) < 5


def test_quotas_stay_within_the_ratio_and_spread_over_it() -> None:
    found = limits_of(Jitter(KEYED, 20_000))
    assert 8_000 <= min(found) < 8_200
    assert 11_800 < max(found) <= 12_000
    assert 9_800 < sum(found) / len(found) < 10_200


def test_two_limits_of_one_cluster_lie_off_by_themselves() -> None:
    jitter = Jitter(KEYED, 20_000)
    other = replace(LIMIT, name="cluster-tokens")
    assert jitter.apply(QUOTA, LIMIT, MEMBERS[0]) != jitter.apply(QUOTA, other, MEMBERS[0])


def test_a_limit_that_is_not_by_cluster_keeps_its_quota() -> None:
    assert Jitter(KEYED, 0).apply(QUOTA, limit("l"), SUBJECT) is QUOTA


@pytest.mark.parametrize(
    ("quota", "factor", "expected"),
    [
        pytest.param(Quota(300, DAY_US, 30), 1.2, Quota(360, DAY_US, 36), id="rate and burst"),
        pytest.param(Quota(12, 0, 12), 0.8, Quota(10, 0, 10), id="leases"),
        pytest.param(Quota(1, DAY_US, 1), 0.5, Quota(1, DAY_US, 1), id="never below one"),
        pytest.param(Quota(0, DAY_US, 0), 1.2, Quota(0, DAY_US, 0), id="nothing stays nothing"),
    ],
)
def test_rate_and_burst_move_together(quota: Quota, factor: float, expected: Quota) -> None:
    assert scaled(quota, factor) == expected


def test_an_epoch_is_a_day() -> None:
    assert epoch_of(EPOCH_US - 1) == 0
    assert epoch_of(EPOCH_US) == 1
    assert EPOCH_US == DAY_US
