"""What the graph forgets, and when."""

from __future__ import annotations

import pytest

from gateway.linking.evidence import Key
from gateway.linking.graph import KEPT_US, LONELY_KEPT_US, Graph

NOW_US = 1_800_000_000_000_000
PROMPT = Key("system_prompt", "ab" * 8)


@pytest.mark.parametrize(("holders", "kept_us"), [(1, LONELY_KEPT_US), (2, KEPT_US)])
def test_a_value_that_is_shared_is_remembered_for_longer(holders: int, kept_us: int) -> None:
    graph = Graph()
    for n in range(holders):
        graph.show(graph.account(f"acc_{n}", NOW_US), PROMPT, NOW_US)
    graph.forget_before(NOW_US + kept_us)
    assert graph.value(PROMPT) is not None
    graph.forget_before(NOW_US + kept_us + 1)
    assert graph.value(PROMPT) is None
    assert all(not account.values for account in graph.accounts.values())


def test_an_account_goes_with_its_last_value_and_its_time() -> None:
    graph = Graph()
    graph.show(graph.account("acc_1", NOW_US), PROMPT, NOW_US)
    graph.forget_before(NOW_US + KEPT_US)
    assert graph.find("acc_1") is not None
    graph.forget_before(NOW_US + KEPT_US + 1)
    assert graph.find("acc_1") is None
