"""By its turns and one value a relay is a cluster; what one fact explains is none."""

from __future__ import annotations

from random import Random

import pytest

from gateway.linking.clusters import Clusters
from gateway.linking.evidence import Key
from gateway.linking.graph import Graph
from gateway.linking.instants import HERE, TURN
from gateway.linking.linker import Evidence, Linker
from gateway.linking.publishing import ClusterView
from gateway.linking.turn_rings import is_all_explained, is_explained
from gateway.linking.turns import LEAST_GROUP
from gateway.model import SECOND_US

START_US = 1_776_816_000 * SECOND_US
TICK_US = 60 * SECOND_US
PROMPT = Key("system_prompt", "ab" * 8)
Stream = list[Evidence]


def relay(
    accounts: int,
    hours: float,
    *,
    payer: str | None = None,
    exempt: bool = False,
    per_day: int = 50,
) -> Stream:
    """`per_day` requests from each, by turns; all show one prompt."""
    rng, at_us, found = Random(1), START_US, Stream()
    facts = () if payer is None else (Key("payment", payer),)
    while at_us < START_US + hours * 3600 * SECOND_US:
        name = f"acc_{len(found) % accounts}"
        found.append(Evidence(name, at_us, (Key(TURN, HERE), PROMPT, *facts), exempt))
        at_us += int(SECOND_US * rng.expovariate(accounts * per_day / 86_400))
    return found


def of_one_domain(*, networks: int) -> Stream:
    """A relay of twenty accounts of one mail domain: account `n` calls from network
    `n % networks`; with no networks nobody knows where they call from."""
    found = []
    for one in relay(20, 6):
        keys = (*one.keys, Key("mail_domain", "ef" * 8))
        if networks:
            keys += (Key("network", f"{int(one.account_id[4:]) % networks:016x}"),)
        found.append(Evidence(one.account_id, one.at_us, keys))
    return found


def told(linker: Linker, stream: Stream, *, restarts: bool = False) -> Linker:
    """Ticks on the way, the evidence of each in an order of its own."""
    rng, waiting, due_us = Random(2), Stream(), START_US + TICK_US
    for evidence in stream:
        while evidence.at_us >= due_us:
            rng.shuffle(waiting)
            for one in waiting:
                linker.observe(one)
            waiting = []
            linker.tick(due_us)
            due_us += TICK_US
            if restarts and rng.random() < 0.02:
                linker = Linker.restore(linker.snapshot())
        waiting.append(evidence)
    return linker


def clusters(linker: Linker) -> list[tuple[str, tuple[str, ...]]]:
    return [(view.state, view.accounts) for view in linker.clusters()]


def only(linker: Linker) -> ClusterView:
    (view,) = linker.clusters()
    return view


def test_a_relay_is_suspected_by_its_turns_and_its_prompt() -> None:
    view = only(told(Linker(), relay(20, 5)))
    assert view.state == "suspected"
    assert len(view.accounts) == 20
    assert set(view.families) == {"turns", "system_prompt"}


def test_a_restart_changes_nothing() -> None:
    stream = relay(20, 4)
    assert clusters(told(Linker(), stream)) == clusters(told(Linker(), stream, restarts=True))


def test_keys_of_one_payer_in_turn_are_no_ring() -> None:
    assert clusters(told(Linker(), relay(20, 5, payer="cd" * 8))) == []


@pytest.mark.parametrize("networks", [0, 1])
def test_a_company_that_sends_in_turn_from_its_own_servers_is_none(networks: int) -> None:
    """Also where nobody knows where its calls come from."""
    assert clusters(told(Linker(), of_one_domain(networks=networks))) == []


@pytest.mark.parametrize("networks", [5, 20])
def test_one_domain_does_not_explain_turns_from_networks_far_apart(networks: int) -> None:
    view = only(told(Linker(), of_one_domain(networks=networks)))
    assert view.state == "suspected"
    assert len(view.accounts) == 20


def test_people_of_one_domain_at_home_offices_send_as_it_comes_and_are_no_ring() -> None:
    stream = of_one_domain(networks=20)
    keys_of = {one.account_id: one.keys for one in stream}
    names = [one.account_id for one in stream]
    Random(4).shuffle(names)
    at_any_time = [
        Evidence(name, one.at_us, keys_of[name]) for name, one in zip(names, stream, strict=True)
    ]
    assert clusters(told(Linker(), at_any_time)) == []


@pytest.mark.parametrize("strangers", range(8))
def test_holders_are_passed_over_only_where_every_group_among_them_is_explained(
    strangers: int,
) -> None:
    graph = Graph()
    for n in range(40):
        number = graph.account(f"acc_{n}", START_US)
        if n >= strangers:
            graph.show(number, Key("payment", "cd" * 8), START_US)
    worst = [f"acc_{n}" for n in range(LEAST_GROUP)]  # as many strangers as there are
    assert is_all_explained(graph, range(40)) == is_explained(graph, worst)


def test_a_mark_leads_to_the_cluster_that_was_founded_last_and_to_none_that_is_gone() -> None:
    clusters = Clusters()
    older, newer = clusters.found(1), clusters.found(2)
    older.marks, newer.marks, newer.own = {1, 2}, {2}, {3}
    clusters.marks_changed()
    assert clusters.homes() == {1: older, 2: newer, 3: newer}
    clusters.absorb(older, newer)
    assert clusters.homes() == dict.fromkeys((1, 2, 3), older)


def test_exempt_accounts_are_in_no_ring() -> None:
    assert clusters(told(Linker(), relay(20, 5, exempt=True))) == []


def test_turns_alone_link_nobody() -> None:
    """No value is shown that would ask for a look."""
    stream = [Evidence(one.account_id, one.at_us, (Key(TURN, HERE),)) for one in relay(20, 5)]
    assert clusters(told(Linker(), stream)) == []


@pytest.mark.parametrize("restarts", [False, True])
def test_accounts_that_send_every_other_minute_are_seen_by_their_turns(restarts: bool) -> None:
    linker = told(Linker(), relay(20, 2, per_day=730), restarts=restarts)
    assert clusters(linker) == [("suspected", tuple(sorted(f"acc_{n}" for n in range(20))))]
