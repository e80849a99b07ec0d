"""A primary dies under load: how much more than the quota is admitted is bounded, on every store.

The load and the failovers are those of `bench_failover`, which docs/stores.md quotes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.loadtests.bench_failover import BURST, FAILOVERS, SLACK, through, told


@pytest.mark.parametrize("name", FAILOVERS)
async def test_a_failover_over_admits_a_burst_at_most(
    tmp_path: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    with FAILOVERS[name](tmp_path) as failover:
        seen = await through(failover)
    over = seen.over_admitted()
    record_property("over_admitted", round(over, 1))
    print(told(seen))
    assert seen.refused > 0, "the load never met the limit"
    assert over <= BURST + SLACK
    if "missed everything" in name or "nothing on disk" in name:
        assert over > BURST / 2, "the limit was to have been lost"
