"""Rings of the relay block: what they tie, and what explains them."""

from __future__ import annotations

import pytest

from gateway.linking import graph as graphs
from gateway.linking.concentration import LEAST_OWN_HOLDERS, examine, is_exclusive, own_of
from gateway.linking.evidence import Key
from gateway.linking.facts import LEAST_IN_BURST
from gateway.linking.graph import Graph

from .worlds import NOW_US


def ringed(size: int, *, payer: bool) -> tuple[Graph, int]:
    """Accounts that hand each other's answers on, and the number of the prompt that they share.
    With `payer`, one card pays for all of them."""
    graph = Graph()
    for n in range(300):
        graph.show(graph.account(f"by_{n}", NOW_US), Key("payment", f"own {n}"), NOW_US)
    for n in range(size):
        number = graph.account(f"ring_{n}", NOW_US)
        graph.show(number, Key("system_prompt", "t"), NOW_US)
        graph.show(number, Key("provenance", "ring"), NOW_US)
        graph.show(number, Key("payment", "one" if payer else f"card {n}"), NOW_US)
    prompt = graph.value(Key("system_prompt", "t"))
    assert prompt is not None
    return graph, prompt


def test_a_ring_with_one_template_is_two_blocks() -> None:
    graph, prompt = ringed(24, payer=False)
    (found,) = examine(graph, prompt)
    assert found.score >= 20
    assert len(found.members) == 24


def test_one_payer_explains_a_ring() -> None:
    graph, prompt = ringed(24, payer=True)
    assert examine(graph, prompt) == []


def test_a_larger_ring_scores_more() -> None:
    scores = []
    for size in (12, 24, 48):
        graph, prompt = ringed(size, payer=False)
        (found,) = examine(graph, prompt)
        scores.append(found.score)
    assert scores == sorted(scores)


def test_a_popular_value_remembers_who_came_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MAX_HOLDERS", 10)
    monkeypatch.setattr(graphs, "DROPPED_AT_ONCE", 1)
    graph = Graph()
    for n in range(25):
        graph.show(graph.account(f"a_{n}", NOW_US), Key("system_prompt", "t"), NOW_US)
    prompt = graph.value(Key("system_prompt", "t"))
    assert prompt is not None
    assert list(graph.values[prompt].holders) == list(range(15, 25))
    assert prompt not in graph.accounts[0].values


@pytest.mark.parametrize(
    ("held", "inside", "belongs"),
    [
        pytest.param(0.01, 34, True, id="rare seed, a third inside"),
        pytest.param(0.01, 33, False, id="rare seed, less than a third inside"),
        pytest.param(0.20, 60, True, id="common seed, three times chance"),
        pytest.param(0.45, 73, True, id="half of all show it, half of the others inside"),
        pytest.param(0.45, 60, False, id="half of all show it, little more than chance"),
        pytest.param(0.95, 90, True, id="nearly all show it"),
        pytest.param(0.95, 89, False, id="nearly all show it, fewer than chance"),
    ],
)
def test_a_shared_fact_is_a_seeds_own_beyond_chance(
    held: float, inside: int, belongs: bool
) -> None:
    assert is_exclusive(inside, 100, held) is belongs


@pytest.mark.parametrize(
    ("sharing", "are_tied"), [(LEAST_IN_BURST - 1, False), (LEAST_IN_BURST, True)]
)
def test_who_signed_up_in_one_hour_with_two_of_a_pool_is_not_tied_to_it(
    sharing: int, are_tied: bool
) -> None:
    graph, prompt = ringed(24, payer=False)
    newcomers = [graph.account(f"new_{n}", NOW_US) for n in range(sharing - 2)]
    members = [graph.account(f"ring_{n}", NOW_US) for n in range(2)]
    for number in (*newcomers, *members):
        graph.show(number, Key("system_prompt", "t"), NOW_US)
        graph.show(number, Key("signup_burst", "hour"), NOW_US)
    (found,) = examine(graph, prompt)
    assert (found.members >= set(newcomers)) is are_tied


def test_an_exit_that_a_few_members_use_is_not_the_groups_own() -> None:
    """Exits of homes are shared with their owners: a few members are no proof of ownership."""
    graph, exits = Graph(), {"few": LEAST_OWN_HOLDERS - 1, "many": LEAST_OWN_HOLDERS}
    members = {graph.account(f"m{n}", NOW_US) for n in range(LEAST_OWN_HOLDERS)}
    for name, count in exits.items():
        for number in sorted(members)[:count]:
            graph.show(number, Key("network", name), NOW_US)
    assert own_of(graph, members) == {graph.value(Key("network", "many"))}
