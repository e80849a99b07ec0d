"""What the linker writes into accounts, and what it leaves as people wrote it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.errors import StoreError
from gateway.linking.publishing import Publication
from gateway.model import Status, Subject
from gateway.stores import RedisStore
from gateway.stores.relink import Relinker, Written
from tests.workers.linking import opened

KINDS = {"single": "valkey", "cluster": "redis_cluster"}
LINKED = Publication("acc_1", "cl_1", "suspected", 40, 0.5)
UNLINKED = Publication("acc_1", None, None, None, None)


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RedisStore]:
    running: Any = request.getfixturevalue(KINDS[request.param])
    async with opened(running.url) as one:
        yield one


async def test_only_the_clusters_fields_change_under_a_new_version(store: RedisStore) -> None:
    before = await store.put(Subject("acc_1", tier="scale", contracts=("x",)), {"c" * 32: "key_1"})
    assert await Relinker(store).publish([LINKED]) == [Written.WRITTEN]
    after = await store.get("acc_1")
    assert after is not None
    assert after.version > before.version
    expected = replace(before, cluster_id="cl_1", cluster_state="suspected", cluster_size=40)
    assert after == replace(expected, suspicion=0.5, version=after.version)
    assert await store.keys("acc_1") == {"c" * 32: "key_1"}


async def test_saying_the_same_again_leaves_the_version(store: RedisStore) -> None:
    await store.put(Subject("acc_1"), {})
    relinker = Relinker(store)
    await relinker.publish([LINKED])
    before = await store.get("acc_1")
    assert await relinker.publish([LINKED]) == [Written.SAME]
    assert await store.get("acc_1") == before


async def test_an_unknown_account_is_not_made(store: RedisStore) -> None:
    assert await Relinker(store).publish([LINKED]) == [Written.UNKNOWN]
    assert await store.get("acc_1") is None


async def test_an_adopted_account_goes_on_expiring(store: RedisStore) -> None:
    adopted = Subject("acc_1", status=Status.ADOPTED)
    await store.adopt("c" * 32, adopted, ttl_us=3_600_000_000)
    assert await Relinker(store).publish([LINKED]) == [Written.WRITTEN]
    for name in (store._keys.subject("acc_1"), store._keys.credential("c" * 32)):
        assert 3_500 < await store._client.ttl(name) <= 3_600


async def test_bans_and_links_at_the_same_time_lose_nothing(store: RedisStore) -> None:
    """Whoever comes second reads again: each ban and each unban is there at the end of its turn."""
    await store.put(Subject("acc_1"), {})
    relinker = Relinker(store)
    kinds: set[str] = set()

    async def link() -> None:
        for n in range(40):
            await relinker.publish([LINKED if n % 2 else UNLINKED])

    async def ban() -> None:
        for n in range(40):
            wanted = Status.BANNED if n % 2 else Status.ACTIVE
            while True:
                subject = await store.get("acc_1")
                assert subject is not None
                try:
                    await store.put(replace(subject, status=wanted), None)
                    break
                except StoreError as error:
                    kinds.add(error.kind)
            stored = await store.get("acc_1")
            assert stored is not None
            assert stored.status is wanted

    await asyncio.gather(link(), ban())
    assert kinds <= {"conflict"}
    await relinker.publish([LINKED])
    end = await store.get("acc_1")
    assert end is not None
    assert (end.status, end.cluster_id) == (Status.BANNED, "cl_1")
