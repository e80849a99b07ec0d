"""What scripted friction makes of passes: how much was bought, and what that is per exchange."""

from __future__ import annotations

from fractions import Fraction

import yaml

from gateway.loadtests.friction import SCRIPT, Told, _serves, prices
from gateway.model import Ask, Level

SAID = yaml.safe_load(SCRIPT.read_text())


def test_one_identity_settles_as_many_accounts_as_the_rule_and_the_script_allow() -> None:
    for said, serves in ((None, 3), (1, 1), (9, 3)):
        ask = Ask("rule", Level.IDENTITY, "", None, True, said)
        assert _serves(SAID, "identity", ask) == serves


def test_prices_round_what_is_shared_up_and_divide_by_all_exchanges_and_by_served_ones() -> None:
    told = Told()
    told.accounts["c"], told.exchanges["c"], told.served["c"] = 4, 2_000, 1_000
    told.passed["c"]["identity"] = 4
    told.bought["c"]["identity"] = 4 * Fraction(1, 3)
    (row,) = prices(told, SAID, ["c"])
    assert row["bought"] == {"identity": 2}
    assert row["usd"] == 2 * SAID["operator"]["identity"]["price_usd"]
    assert row["per_million_exchanges"] == {"identity": 1000.0}
    assert row["per_million_served"] == {"identity": 2000.0}


def test_a_campaign_that_nobody_serves_has_no_price_per_served_exchange() -> None:
    told = Told()
    told.accounts["c"], told.exchanges["c"] = 1, 10
    (row,) = prices(told, SAID, ["c"])
    assert row["per_million_served"] == {}
    assert row["usd_per_million_served"] is None
