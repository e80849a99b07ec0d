"""A key always lands in the same place, and keys land evenly."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.core.spread import shard_of


@pytest.mark.parametrize("shards", [1, 2, 7, 64])
def test_every_place_is_used_and_none_much_more_than_the_others(shards: int) -> None:
    keys = [f"key {number}" for number in range(1_000 * shards)]
    counts = Counter(shard_of(key, shards) for key in keys)
    assert set(counts) == set(range(shards))
    assert max(counts.values()) < 1_300


def test_a_key_stays_where_it_is_across_processes_and_versions() -> None:
    assert [shard_of(key, 16) for key in ("acc_1", "acc_2", "")] == [5, 15, 0]
