"""Accounts' windows: the Lua and the memory store keep the same bytes after any history."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.window import DAY_S, HOUR_S, KEPT_S, SIGHTING, U32, WINDOW_BYTES, see
from gateway.loadtests.servers.valkey import Server
from gateway.model import SECOND_US, Settlement, Sighting, Subject
from gateway.stores import RedisStore, open_store
from gateway.stores.memory import MemoryStore
from gateway.stores.windows import WindowCache

from .steps import NOW_US, charge, gcra
from .test_lua_equals_memory import Settling, settlement_of

NOW_S = NOW_US // SECOND_US
ACCOUNTS = ("acc_1", "acc_2")


@dataclass(frozen=True)
class Seen:
    """`early_s`: how long before its settlement the exchange arrived."""

    account_id: str
    gap_s: int
    early_s: int
    times: int
    numbers: tuple[int, ...]


gaps_s = st.one_of(
    st.integers(0, 5), st.integers(0, 3 * HOUR_S), st.integers(0, 3 * DAY_S), st.just(KEPT_S)
)
numbers = st.tuples(
    st.sampled_from([1, 1, 1, 200, U32]),  # requests
    st.sampled_from([0, 17, 90_000, U32]),
    st.sampled_from([0, 400, U32]),
    st.integers(0, 15),
    *[st.sampled_from([0, 1, 14, 15, 16, 30, 31, 255])] * 6,
    st.sampled_from([0, 3, 8, 255]),
    st.integers(0, 65_535),
    st.sampled_from([0, ord("D") << 8 | ord("E")]),
)
histories = st.lists(
    st.builds(
        Seen,
        st.sampled_from(ACCOUNTS),
        gaps_s,
        st.sampled_from([-100, 0, 0, 7, 4000, 100_000]),
        st.sampled_from([1, 1, 1, 300]),
        numbers,
    ),
    max_size=20,
)


async def play(store: RedisStore | MemoryStore, history: list[Seen]) -> list[bytes | None]:
    kept: list[bytes | None] = []
    now_s = NOW_S
    for seen in history:
        now_s += seen.gap_s
        sighting = Sighting(seen.account_id, SIGHTING.pack(now_s - seen.early_s, *seen.numbers))
        due = Settlement("l", (), now_s * SECOND_US, sighting)
        await asyncio.gather(*(store.settle(due) for _ in range(seen.times)))
        kept.append(store.window(seen.account_id))
    return kept


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories)
def test_any_history_leaves_equal_windows(valkey: Server, history: list[Seen]) -> None:
    async def play_both() -> tuple[list[bytes | None], list[bytes | None]]:
        opened = await open_store(
            valkey.url, secret_fingerprint="0", prefix=f"p{secrets.token_hex(6)}:", timeout_s=5.0
        )
        try:
            return await play(opened, history), await play(MemoryStore(lambda: 0), history)
        finally:
            await opened.aclose()

    on_server, in_memory = asyncio.run(play_both())
    assert on_server == in_memory
    assert all(window is not None and len(window) == WINDOW_BYTES for window in in_memory)


async def test_a_window_is_counted_beside_corrections_and_can_be_fetched(valkey: Server) -> None:
    """Also by a process that has not settled anything of the account, and after erasing it."""
    prefix = f"p{secrets.token_hex(6)}:"
    first, second = [
        await open_store(valkey.url, secret_fingerprint="0", prefix=prefix, timeout_s=5.0)
        for _ in range(2)
    ]
    memory = MemoryStore(lambda: 0)
    try:
        for store in (first, memory):
            await store.put(Subject("acc_1"), None)
            await settle_both_ways(store)
        assert first.window("acc_1") == memory.window("acc_1") is not None
        assert second.window("acc_1") is None
        await second.fetch_window("acc_1")
        assert second.window("acc_1") == first.window("acc_1")
        await first.remove("acc_1")
        await second.fetch_window("acc_1")
        assert first.window("acc_1") is second.window("acc_1") is None
    finally:
        await first.aclose()
        await second.aclose()


async def settle_both_ways(store: RedisStore | MemoryStore) -> None:
    asked = charge(gcra())
    reply = await store.charge(asked)
    corrected = settlement_of(Settling(0, 0, 5, is_repeated=False), asked, reply, NOW_US)
    sighting = Sighting("acc_1", SIGHTING.pack(NOW_S, 1, 5, 6, 0, *[255] * 7, 0, 0))
    await asyncio.gather(
        store.settle(corrected),
        store.settle(Settlement("m", corrected.corrections, NOW_US, sighting)),
        store.settle(Settlement("n", (), NOW_US, sighting)),
    )


async def test_a_window_that_is_none_of_ours_is_begun_anew(valkey: Server) -> None:
    opened = await open_store(valkey.url, secret_fingerprint="0", prefix="w:", timeout_s=5.0)
    sighting = Sighting("acc_1", SIGHTING.pack(NOW_S, 1, 5, 6, 0, *[255] * 7, 0, 0))
    try:
        await opened._client.set(opened._keys.window("acc_1"), b"from an older version")
        await opened.settle(Settlement("l", (), NOW_US, sighting))
        assert opened.window("acc_1") == see(None, sighting.packed, NOW_S)
        await opened._client.delete(opened._keys.window("acc_1"))
        await opened._client.lpush(opened._keys.window("acc_1"), b"a list")
        with_list = Settlement("l", (), NOW_US, sighting)
        await opened.settle(with_list)  # counted as refused, and nobody waits for ever
        assert opened.window("acc_1") == see(None, sighting.packed, NOW_S)
    finally:
        await opened.remove("acc_1")
        await opened.aclose()


@pytest.mark.parametrize("size", [1, 3])
def test_the_cache_of_windows_is_bounded(size: int) -> None:
    cache = WindowCache(size)
    for n in range(10):
        cache.put(f"acc_{n}", b"w")
        assert len(cache) <= size
    assert cache.get("acc_9") == b"w"
    assert cache.get("acc_0") is None
