"""Which cluster a group belongs to: the older absorbs, and what people decided stands."""

from __future__ import annotations

import pytest

from gateway.linking.clusters import CONFIRMED, DISMISSED, SUSPECTED, Cluster, Clusters

NOW_US = 1_800_000_000_000_000


def founded(clusters: Clusters, members: range, at_us: int, state: str = SUSPECTED) -> Cluster:
    cluster = clusters.found(at_us)
    cluster.state = state
    for number in members:
        clusters.join(cluster, number, at_us)
    return cluster


def test_the_older_of_two_absorbs_the_other() -> None:
    clusters = Clusters()
    younger = founded(clusters, range(20, 40), NOW_US + 1)
    older = founded(clusters, range(20), NOW_US)
    younger.families["payment"] = 7.0
    assert clusters.home_of(set(range(40)), NOW_US + 2) is older
    assert set(older.members) == set(range(40))
    assert older.families == {"payment": 7.0}
    assert set(clusters.by_id) == {older.cluster_id}


@pytest.mark.parametrize("state", [CONFIRMED, DISMISSED])
def test_one_that_people_decided_absorbs_older_ones_and_is_never_absorbed(state: str) -> None:
    clusters = Clusters()
    founded(clusters, range(20), NOW_US)
    decided = founded(clusters, range(20, 40), NOW_US + 1, state)
    assert clusters.home_of(set(range(40)), NOW_US + 2) is decided
    assert set(decided.members) == set(range(40))
    assert decided.state == state


def test_two_that_people_decided_stay_two() -> None:
    clusters = Clusters()
    dismissed = founded(clusters, range(20), NOW_US, DISMISSED)
    confirmed = founded(clusters, range(20, 40), NOW_US + 1, CONFIRMED)
    assert clusters.home_of(set(range(40)), NOW_US + 2) is dismissed
    assert set(dismissed.members) == set(range(20))
    assert set(confirmed.members) == set(range(20, 40))


def test_a_small_part_of_a_large_cluster_is_no_part_of_it() -> None:
    clusters = Clusters()
    large = founded(clusters, range(100), NOW_US)
    assert clusters.home_of({*range(2), *range(200, 220)}, NOW_US) is not large
    assert clusters.home_of({*range(10), *range(200, 220)}, NOW_US) is large
