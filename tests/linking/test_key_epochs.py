"""A rotation of the linking key: evidence is renamed, and no cluster is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.core.keyed import KeyedHash
from gateway.linking.evidence import Extractor, LinkingKeys, Sight
from gateway.linking.graph import KEPT_US, Graph
from gateway.linking.linker import Evidence, Linker
from gateway.linking.opening import read_opening
from gateway.linking.traces import ASKED, ISSUED, RETURNED, Tracer
from gateway.model import Subject
from gateway.stores.stream import Message, _record, evidence_of
from tests.core.builders import FACTS

from .worlds import NOW_US

OLD, NEW, NEWEST = (KeyedHash(f"linking key number {n}".encode()) for n in range(3))
BEFORE, DURING, AFTER = LinkingKeys(OLD), LinkingKeys(NEW, OLD), LinkingKeys(NEW)


def pool(keys: LinkingKeys, numbers: range, name: str = "pool") -> Iterator[Evidence]:
    for n in numbers:
        texts = {
            "system_prompt": "template",
            "payment": f"card {n // 12}",
            "signup_network": f"home {n // 8}",
            "mail_domain": f"domain {n // 60}",
        }
        told = tuple(keys.key(family, text) for family, text in texts.items())
        yield Evidence(f"{name}_{n}", NOW_US, told)


def strangers(keys: LinkingKeys) -> Iterator[Evidence]:
    for n in range(400):
        told = (keys.key("system_prompt", f"own {n}"), keys.key("payment", f"own card {n}"))
        yield Evidence(f"by_{n}", NOW_US, told)


def tell(linker: Linker, evidence: Iterator[Evidence], at_us: int) -> None:
    for one in evidence:
        linker.observe(one)
    linker.tick(at_us)


def rotated(during: LinkingKeys, *, saves: bool) -> Linker:
    """A pool under the old key, a part of it during the rotation, replacements under the new key
    alone."""
    linker = Linker()
    tell(linker, strangers(BEFORE), NOW_US)
    tell(linker, pool(BEFORE, range(240)), NOW_US + 1)
    tell(linker, pool(during, range(0, 240, 4)), NOW_US + 2)
    if saves:
        linker = Linker.restore(linker.snapshot())
    tell(linker, pool(AFTER, range(24), "new"), NOW_US + 3)
    return linker


@pytest.mark.parametrize("saves", [False, True], ids=["one linker", "a standby takes over"])
def test_a_pool_across_a_rotation_is_one_cluster(saves: bool) -> None:
    linker = rotated(DURING, saves=saves)
    (born,) = linker.clusters()
    assert len([name for name in born.accounts if name.startswith("new")]) == 24
    tell(linker, pool(AFTER, range(240)), NOW_US + 4)
    (found,) = linker.clusters()
    assert found.cluster_id == born.cluster_id
    assert found.state == "suspected"
    assert len(found.accounts) == 264


def test_without_the_overlap_newcomers_are_strangers() -> None:
    """What the two epochs are for."""
    (found,) = rotated(BEFORE, saves=False).clusters()
    assert not [name for name in found.accounts if name.startswith("new")]


def test_a_gateway_that_still_has_the_old_key_speaks_of_the_same_value() -> None:
    graph = Graph()
    for at, (name, keys) in enumerate([("a", BEFORE), ("b", DURING), ("c", BEFORE), ("d", AFTER)]):
        graph.show(graph.account(name, at), keys.key("payment", "card"), NOW_US + at)
    (value,) = graph.values.values()
    assert len(value.holders) == 4


def test_the_new_key_may_be_heard_first() -> None:
    graph = Graph()
    for name, keys in (("a", DURING), ("b", BEFORE)):
        graph.show(graph.account(name, 0), keys.key("payment", "card"), NOW_US)
    assert [len(value.holders) for value in graph.values.values()] == [2]


def test_a_second_rotation_drops_the_name_before_the_last() -> None:
    graph = Graph()
    for keys in (BEFORE, DURING, LinkingKeys(NEWEST, NEW)):
        graph.show(graph.account("a", 0), keys.key("payment", "card"), NOW_US)
    number = graph.value(LinkingKeys(NEWEST).key("payment", "card"))
    assert number is not None
    assert graph.value(AFTER.key("payment", "card")) == number
    assert graph.value(BEFORE.key("payment", "card")) is None


def test_a_forgotten_value_leaves_no_name_behind() -> None:
    graph = Graph()
    graph.show(graph.account("a", 0), DURING.key("payment", "card"), NOW_US)
    graph.forget_before(NOW_US + KEPT_US + 1)
    assert graph.value(AFTER.key("payment", "card")) is None
    assert graph.value(BEFORE.key("payment", "card")) is None


def test_both_names_arrive_over_the_stream() -> None:
    keys = tuple(DURING.key(family, text) for family in ("payment", "tools") for text in "xyz")
    told = Evidence("a", NOW_US, keys)
    assert evidence_of(Message("sender", 1, [_record(told)])) == [told]


def test_an_extractor_tells_both_names_once() -> None:
    extractor = Extractor(DURING, ["payment"])
    sight = Sight(NOW_US, FACTS, Subject("a", version=1, payment="card"))
    assert extractor.new_keys(sight) == [DURING.key("payment", "card")]
    assert extractor.new_keys(sight) == []


def test_what_was_issued_before_the_rotation_is_known_when_it_comes_back() -> None:
    body = b'[{"role":"assistant","tool_calls":[{"id":"call_0123456789abcdefghijklmn"}]}]'
    members = {"messages": body}
    sight = Sight(NOW_US, FACTS, Subject("a"), members, read_opening(members))
    before = {key.value for key in Tracer(BEFORE).of_request(sight)}
    during = Tracer(DURING).of_request(sight)
    for trace in (RETURNED, ASKED):
        mine = {key.value for key in during if key.family == trace}
        assert len(mine & before) == len(mine) // 2


def test_nothing_is_issued_under_two_names() -> None:
    answer = b'{"choices":[{"message":{"tool_calls":[{"id":"call_0123456789abcdefghijklmn"}]}}]}'
    names = [key for key in Tracer(DURING).of_answer(answer) if key.family == ISSUED]
    assert names == Tracer(AFTER).of_answer(answer)
