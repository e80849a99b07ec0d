"""The store's benchmark measures what it says."""

from __future__ import annotations

from pathlib import Path

import redis.asyncio as redis_client

from gateway.loadtests import bench_store
from gateway.model import ChargeReply, Subject
from gateway.stores import open_store
from gateway.stores.embedded import EmbeddedStore


async def test_both_ways_really_decide(tmp_path: Path) -> None:
    async with EmbeddedStore(tmp_path) as url:
        store = await open_store(
            url, secret_fingerprint="0", prefix=bench_store.PREFIX, timeout_s=5.0
        )
        client = redis_client.Redis(unix_socket_path=url.removeprefix("unix://"))
        try:
            subject = await store.put(Subject("acc_1"), None)
            (charge,) = bench_store.charges_of(subject, 1)
            ours = await store.charge(charge)
            theirs = await bench_store.through_a_pool(client)(charge)
            levels = [ours.results[0].level, theirs[2][3]]
        finally:
            await client.aclose()
            await store.aclose()
    assert isinstance(ours, ChargeReply)
    assert ours.applied
    assert theirs[2][:2] == [0, 1]
    assert levels[1] - levels[0] > 0
