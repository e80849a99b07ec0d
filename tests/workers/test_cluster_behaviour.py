"""What is said of a cluster's behaviour: from the store's windows, or why nothing can be said."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from random import Random

import pytest

from gateway.classifiers.load import load_cluster_model
from gateway.commands.clusters import explained
from gateway.core import window as at
from gateway.loadtests.servers.valkey import Server
from gateway.model import SECOND_US, Settlement, Sighting, Subject
from gateway.stores import RedisStore, open_store
from gateway.stores.memory import MemoryStore
from gateway.workers.cluster_behaviour import ClusterBehaviour, ReplayedBehaviour, spread

NOW_S = 1_800_000_000 // at.DAY_S * at.DAY_S
END_US = (NOW_S + at.DAY_S - 1) * SECOND_US


class Clock:
    def now_us(self) -> int:
        return END_US


@pytest.fixture
async def store(valkey: Server) -> AsyncIterator[RedisStore]:
    opened = await open_store(
        valkey.url, secret_fingerprint="0", prefix=f"p{secrets.token_hex(6)}:", timeout_s=5.0
    )
    yield opened
    await opened.wipe()
    await opened.aclose()


async def see(
    store: RedisStore | MemoryStore, account: str, seconds: list[int], bits: tuple[int, ...]
) -> None:
    await store.put(Subject(account), None)
    for second in seconds:
        at_s = NOW_S + second
        packed = at.SIGHTING.pack(at_s, 1, 200, 900, 0, *bits, 9, 0)
        await store.settle(Settlement("l", (), at_s * SECOND_US, Sighting(account, packed)))


async def fill(store: RedisStore | MemoryStore) -> list[str]:
    """A pool that works around the clock among customers; the pool's names."""
    rng = Random(1)
    for n in range(40):
        hours = sorted(rng.randrange(6, 22) * 3600 for _ in range(rng.randrange(3, 12)))
        await see(store, f"customer_{n}", hours, (n % 9, 3, 255, 4, 255, n % 3, n % 9))
    pool = [f"pool_{n}" for n in range(8)]
    for name in pool:
        await see(store, name, list(range(0, 86_400, 3_600)), (1, 3, 255, 4, 255, 5, 1))
    return pool


async def test_a_pool_scores_above_customers_and_says_why(store: RedisStore) -> None:
    pool = await fill(store)
    desk = ClusterBehaviour(store, load_cluster_model(), Clock())
    found = await desk.of(pool, size=len(pool))
    customers = await desk.of([f"customer_{n}" for n in range(20)], size=20)
    assert found["score"] > customers["score"]
    assert found["members_read"] == 8
    assert found["compared_with"] == 48
    assert found["why"][0].startswith("it ")


async def test_a_replay_says_of_its_clusters_what_a_gateway_would(store: RedisStore) -> None:
    memory, model = MemoryStore(lambda: END_US), load_cluster_model()
    pool = await fill(store)
    await fill(memory)
    live = await ClusterBehaviour(store, model, Clock()).of(pool, size=len(pool))
    replayed = ReplayedBehaviour(memory, model, END_US).of(pool)
    assert replayed["score"] == pytest.approx(live["score"], abs=0.001)
    assert replayed["members_read"] == live["members_read"]
    assert ReplayedBehaviour(MemoryStore(), model, END_US).of(pool)["score"] is None


async def test_without_windows_it_says_what_to_switch_on(store: RedisStore) -> None:
    await store.put(Subject("acc_1"), None)
    found = await ClusterBehaviour(store, load_cluster_model(), Clock()).of(["acc_1"], size=1)
    assert found["score"] is None
    assert "windows: true" in found["why"][0]


@pytest.mark.parametrize("behaviour", [None, {"score": None, "why": ["too few"]}])
def test_explain_says_no_more_than_is_known(behaviour: dict[str, object] | None) -> None:
    lines = explained(CLUSTER | {"behaviour": behaviour})
    assert any("too few" in line for line in lines) is (behaviour is not None)


def test_explain_tells_the_score_as_no_evidence() -> None:
    found = {"score": 0.97, "members_read": 8, "compared_with": 48, "why": ["it is alike (+2.0)"]}
    text = "\n".join(explained(CLUSTER | {"behaviour": found}))
    assert "one hand by 0.97 (no evidence" in text
    assert "it is alike (+2.0)" in text


CLUSTER = {
    "cluster_id": "c_1",
    "state": "watched",
    "size": 8,
    "score": 12.0,
    "first_seen_us": END_US,
    "why": [],
    "families": {},
    "accounts": ["pool_1"],
    "decisions": [],
    "unpublished": 0,
}


def test_names_are_taken_evenly() -> None:
    assert spread(list("abcdef"), 3) == ["a", "c", "e"]
    assert spread(["a"], 3) == ["a"]
