"""Users of aggregators as accounts of the graph: who is linked, who never, and what is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.core.keyed import KeyedHash
from gateway.core.sub_users import for_linking, name_of
from gateway.linking import linker as linkers
from gateway.linking import sub_users
from gateway.linking.evidence import Block, Extractor, Key, Sight, all_families
from gateway.linking.linker import Evidence, Linker
from gateway.linking.sub_users import MAX_ADMITTED, Doorkeeper
from gateway.model import SECOND_US, Subject
from tests.core.builders import FACTS

from .worlds import NOW_US, bystanders

SELLER = Subject("seller", version=1, payment="card", contracts=("aggregator",))
SIZE = 60


def hexed(text: str) -> str:
    return KeyedHash(b"names of the test").value("test", text)[:16]


def user(number: int, sellers: int) -> str:
    return name_of(f"seller_{number % sellers}", hexed(f"user {number}"))


def relayed(sellers: int, size: int = SIZE) -> Iterator[Evidence]:
    """One hand behind users of several aggregators, with one template: each conversation has three
    turns on three of them."""
    names = [user(n, sellers) for n in range(size)]
    for name in names:
        yield Evidence(name, NOW_US, (Key("system_prompt", hexed("template")),))
    for talk in range(8 * size):
        for turn in range(3):
            at = (talk + turn * (1 + talk // size)) % size
            at_us = NOW_US + (10 * talk + turn) * SECOND_US
            traces = [Key("issued", hexed(f"{talk} {turn}"))]
            if turn:
                traces.append(Key("talk", hexed(f"{talk}")))
                traces.append(Key("returned", hexed(f"{talk} {turn - 1}")))
            yield Evidence(names[at], at_us, tuple(traces))


def honest(sellers: int, each: int = 40) -> Iterator[Evidence]:
    for n in range(sellers * each):
        name = name_of(f"seller_{n % sellers}", hexed(f"honest {n}"))
        keys = [Key("system_prompt", hexed(f"own {n}"))] + [
            Key("system_prompt", hexed("template"))
        ] * (n % 2)
        yield Evidence(name, NOW_US, tuple(keys))


def linked(sellers: int) -> Linker:
    linker = Linker()
    for one in [*bystanders(400), *honest(sellers), *relayed(sellers)]:
        linker.observe(one)
    linker.tick(NOW_US + 24 * 3600 * SECOND_US)
    linker.tick(NOW_US + 24 * 3600 * SECOND_US + 1)
    return linker


def test_one_hand_behind_users_of_several_aggregators_is_a_cluster() -> None:
    (found,) = linked(sellers=5).clusters()
    assert found.state == "suspected"
    assert set(found.accounts) <= {user(n, 5) for n in range(SIZE)}
    assert len(found.accounts) >= 0.9 * SIZE


def test_conversations_that_cross_within_one_aggregator_link_nobody() -> None:
    assert linked(sellers=1).clusters() == []


def test_a_sub_user_shows_neither_facts_nor_client() -> None:
    extractor = Extractor(KeyedHash(b"sixteen bytes and more"))
    seen = for_linking(SELLER, "a" * 16)
    keys = extractor.new_keys(Sight(NOW_US, FACTS, seen, header_names=(b"host",)))
    assert {all_families()[key.family].block for key in keys} <= {Block.CONTENT}


def test_made_up_users_are_not_looked_at_and_others_from_their_second_request() -> None:
    door = Doorkeeper()
    facts = replace(FACTS, end_user="c" * 32)
    assert door.meet(facts, SELLER) is None
    assert door.known(facts, SELLER) is None
    assert door.meet(facts, SELLER) == for_linking(SELLER, "c" * 16)
    assert door.known(facts, SELLER) == for_linking(SELLER, "c" * 16)
    assert Doorkeeper.unpack(door.pack()).known(facts, SELLER) is not None
    for n in range(MAX_ADMITTED + 10):
        for _ in range(2):
            door.meet(replace(FACTS, end_user=f"{n:032x}"[::-1]), SELLER)
    ((met, admitted),) = door.pack().values()
    assert (len(met), len(admitted)) == (0, MAX_ADMITTED)


def test_an_account_without_that_contract_is_itself() -> None:
    other = Subject("other", version=1)
    assert Doorkeeper().meet(replace(FACTS, end_user="c" * 32), other) is other


def test_users_of_one_aggregator_are_bounded_and_the_linked_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    linker = linked(sellers=5)
    (before,) = linker.clusters()
    monkeypatch.setattr(linkers, "MAX_SUB_USERS", 50)
    for n in range(200):
        name = name_of("seller_0", hexed(f"made up {n}"))
        linker.observe(Evidence(name, NOW_US, (Key("system_prompt", f"made up {n}"),)))
    linker.tick(NOW_US + 25 * 3600 * SECOND_US)
    (after,) = linker.clusters()
    assert after.accounts == before.accounts
    users = Linker.restore(linker.snapshot())._state.graph.users
    assert len(users["seller_0"]) <= 53  # as many as there were when the bound came


def test_aggregators_are_followed_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sub_users, "MAX_AGGREGATORS", 2)
    door = Doorkeeper()
    for number in range(5):
        seller = replace(SELLER, account_id=f"seller_{number}")
        door.meet(replace(FACTS, end_user="ab" * 8), seller)
    assert list(door.pack()) == ["seller_3", "seller_4"]
