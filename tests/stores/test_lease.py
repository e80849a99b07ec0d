"""One leader, and a snapshot that only the leader replaces."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import StoreError
from gateway.stores import RedisStore
from gateway.stores.lease import Lease
from gateway.stores.snapshots import CHUNK_BYTES, Snapshots
from tests.workers.linking import opened, until

KINDS = {"single": "valkey", "cluster": "redis_cluster"}


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RedisStore]:
    running: Any = request.getfixturevalue(KINDS[request.param])
    async with opened(running.url) as one:
        yield one


async def test_one_holds_it_until_it_is_given_back(store: RedisStore) -> None:
    first, second = (Lease(store, "lease", lease_s=30) for _ in range(2))
    assert await first.hold()
    assert not await second.hold()
    assert (first.is_held, second.is_held) == (True, False)
    await second.give_back()  # what is not its own it cannot give
    assert not await second.hold()
    await first.give_back()
    assert await second.hold()
    assert second.epoch > first.epoch


async def test_it_lapses_for_the_holder_before_it_lapses_for_the_others(store: RedisStore) -> None:
    first, second = (Lease(store, "lease", lease_s=0.5) for _ in range(2))
    assert await first.hold()

    async def is_taken() -> bool:
        was_held = first.is_held
        is_taken = await second.hold()
        assert not (is_taken and was_held and first.is_held)
        return is_taken

    await until(is_taken, "the takeover")
    assert not first.is_held
    assert not await first.hold()


async def test_a_snapshot_is_whole_and_replaces_the_one_before(store: RedisStore) -> None:
    lease, snapshots = Lease(store, "lease", lease_s=30), Snapshots(store, "snapshot")
    await lease.hold()
    assert await snapshots.load() is None
    states = [b"small", os.urandom(3 * CHUNK_BYTES), b""]
    for state in states:
        await snapshots.save(state, lease)
        assert await snapshots.load() == state
    names = [name async for name in store._client.scan_iter(match=store._keys.linker("*"))]
    assert len(names) == 4  # lease, epoch, head and one chunk: nothing is left of the others
    assert all([await store._client.ttl(n) == -1 for n in names if b"snapshot" in n])


async def test_who_lost_the_lease_replaces_nothing(store: RedisStore) -> None:
    old, new = (Lease(store, "lease", lease_s=0.2) for _ in range(2))
    snapshots = Snapshots(store, "snapshot")
    await old.hold()
    await asyncio.sleep(0.3)
    assert await new.hold()
    await snapshots.save(b"the new one's", new)
    with pytest.raises(StoreError, match="lease has gone"):
        await snapshots.save(b"the old one's", old)
    assert await snapshots.load() == b"the new one's"


async def test_a_damaged_snapshot_is_refused(store: RedisStore) -> None:
    lease, snapshots = Lease(store, "lease", lease_s=30), Snapshots(store, "snapshot")
    await lease.hold()
    await snapshots.save(b"state", lease)
    async for name in store._client.scan_iter(match=f"{store._keys.prefix}*snapshot:*"):
        await store._client.set(name, b"other")
    with pytest.raises(StoreError, match="damaged"):
        await snapshots.load()
