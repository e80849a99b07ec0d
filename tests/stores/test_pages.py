"""Listing page by page: every account at least once, on one server and on three."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import CursorError
from gateway.model import Subject
from gateway.stores import RedisStore, open_store

ACCOUNTS = 300


@pytest.fixture(params=["valkey", "redis_cluster"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RedisStore]:
    running: Any = request.getfixturevalue(request.param)
    prefix = f"t{secrets.token_hex(4)}:"
    opened = await open_store(running.url, secret_fingerprint="0", prefix=prefix, timeout_s=5.0)
    try:
        yield opened
    finally:
        await opened.wipe()
        await opened.aclose()


async def fill(store: RedisStore) -> set[str]:
    names = {f"acc_{number}" for number in range(ACCOUNTS)}
    for name in names:
        await store.put(Subject(name), {secrets.token_hex(16): "key"})
    return names


async def pages(store: RedisStore, enough: int) -> list[list[str]]:
    found, cursor = [], None
    while True:
        subjects, cursor = await store.page(cursor, enough=enough)
        found.append([subject.account_id for subject in subjects])
        if cursor is None:
            return found


@pytest.mark.parametrize("enough", [1, 50, 1000])
async def test_every_account_comes_over_all_pages(store: RedisStore, enough: int) -> None:
    names = await fill(store)
    listed = await pages(store, enough)
    assert {name for page in listed for name in page} == names
    assert max(map(len, listed)) <= max(enough, 16) + enough  # a page ends soon after its fill
    assert len(listed) >= ACCOUNTS // (max(enough, 16) + enough)


async def test_an_account_that_stays_is_not_lost_by_others_that_come_and_go(
    store: RedisStore,
) -> None:
    names = await fill(store)
    found: set[str] = set()
    cursor = None
    for turn in range(ACCOUNTS):
        subjects, cursor = await store.page(cursor, enough=20)
        found |= {subject.account_id for subject in subjects}
        if cursor is None:
            break
        await store.put(Subject(f"new_{turn}"), None)
        await store.remove(f"new_{turn - 3}")
    assert cursor is None
    assert names <= found


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1@", "99999999999999999999", "0@nowhere:1"])
async def test_a_cursor_that_is_not_ours_is_an_error(store: RedisStore, cursor: str) -> None:
    with pytest.raises(CursorError, match="cursor"):
        await store.page(cursor, enough=10)
