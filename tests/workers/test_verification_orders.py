"""What operators do to verifications: imports give what is live, and say what is wrong."""

from __future__ import annotations

import pytest

from gateway.model import SECOND_US, Level

from .verification_house import House, directory, house

__all__ = ["directory", "house"]


async def test_an_import_gives_what_is_live_and_pushes_nothing_out(house: House) -> None:
    await house.pass_mail("acc_1")
    now_us = house.clock.us
    old = [
        {"level": "phone", "granted_us": at, "expires_us": now_us - SECOND_US} for at in range(15)
    ]
    live = {"level": "payment", "granted_us": 1, "expires_us": None}
    line = {"account_id": "acc_1", "grants": [*old, live]}
    assert [await house.orders.import_grants(line) for _ in range(2)] == [1, 0]
    stored = await house.store.get("acc_1")
    assert stored is not None
    assert {grant.level for grant in stored.grants} == {Level.EMAIL, Level.PAYMENT}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param({"grants": []}, "account_id", id="no account"),
        pytest.param({"account_id": "acc_9", "grants": []}, "no such account", id="unknown"),
        pytest.param(
            {"account_id": "a", "grants": [{"level": "none", "granted_us": 1}]},
            "no such level: none; there are email",
            id="level none",
        ),
        pytest.param(
            {"account_id": "a", "grants": [], "proofs": ["x" * 99]}, "proofs", id="no proof"
        ),
    ],
)
async def test_an_import_says_what_is_wrong_with_a_line(
    house: House, line: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        await house.orders.import_grants(line)
