"""Each brake counts whom it names, and whoever is named in a full one is held."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from gateway.friction import brakes
from gateway.model import SECOND_US, Charge, Quota
from gateway.stores.memory import MemoryStore

NOW_US = 1_800_000_000 * SECOND_US
Braked = Callable[[int], Charge]
"""The n-th attempt, whose other names are new each time."""


def code(
    n: int, *, account: str | None = None, network: str | None = None, proof: str | None = None
) -> Charge:
    return brakes.code_brakes(
        f"l{n}",
        account_id=account or f"acc_{n}",
        network=network or f"net_{n}",
        proof=proof or f"em:{n}",
        codes_per_hour=1_200,
    )


def tried(n: int, *, account: str | None = None, network: str | None = None) -> Charge:
    return brakes.try_brakes(
        f"l{n}", account_id=account or f"acc_{n}", network=network or f"net_{n}"
    )


@pytest.mark.parametrize(
    ("attempt", "quota"),
    [
        pytest.param(lambda n: code(n, account="a"), Quota(6, 1, 3), id="codes of an account"),
        pytest.param(lambda n: code(n, network="n"), Quota(20, 1, 10), id="codes of a network"),
        pytest.param(lambda n: code(n, proof="p"), Quota(6, 1, 3), id="codes to a destination"),
        pytest.param(code, Quota(1_200, 1, 20), id="codes over all"),
        pytest.param(lambda n: tried(n, account="a"), Quota(30, 1, 15), id="tries of an account"),
        pytest.param(lambda n: tried(n, network="n"), Quota(60, 1, 30), id="tries of a network"),
        pytest.param(
            lambda n: brakes.session_brakes(f"l{n}", account_id="a"),
            Quota(20, 1, 10),
            id="visits to a provider",
        ),
        pytest.param(
            lambda n: brakes.appeal_brakes(f"l{n}", account_id="a"), Quota(5, 24, 5), id="appeals"
        ),
        pytest.param(
            lambda n: brakes.visit_brakes(f"l{n}", network="n"), Quota(7_200, 1, 60), id="pages"
        ),
    ],
)
async def test_a_brake_lets_its_burst_pass_and_then_its_rate(attempt: Braked, quota: Quota) -> None:
    """`quota`: so many in that many hours, and at once."""
    now_us, number = NOW_US, itertools.count()
    store = MemoryStore(lambda: now_us)

    async def passes() -> bool:
        return (await store.charge(attempt(next(number)))).applied

    assert [await passes() for _ in range(quota.burst)] == [True] * quota.burst
    assert not await passes()
    now_us += quota.period_us * brakes.HOUR_US // quota.limit + 1
    assert await passes()
    assert not await passes()
