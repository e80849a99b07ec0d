"""Evidence on its way: together, in order, once, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.linking.evidence import Key
from gateway.linking.linker import Evidence
from gateway.loadtests.servers.valkey import server
from gateway.stores import RedisStore, stream
from gateway.stores.stream import (
    MAX_MESSAGE_BYTES,
    START,
    EvidenceSender,
    MessageLog,
    evidence_of,
    read_message,
)
from tests.workers.linking import opened, until

KINDS = {"single": "valkey", "cluster": "redis_cluster"}


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RedisStore]:
    running: Any = request.getfixturevalue(KINDS[request.param])
    async with opened(running.url) as one:
        yield one


def evidence(n: int, keys: int = 3) -> Evidence:
    return Evidence(
        f"acc_{n}",
        1_000_000 + n,
        tuple(Key(f"family_{i % 2}", f"{n:08x}{i:08x}") for i in range(keys)),
        is_exempt=n % 2 == 0,
        created_us=None if n % 3 else n,
    )


async def all_of(log: MessageLog) -> list[Evidence]:
    found: list[Evidence] = []
    for _, packed in await log.read_after(START, most=10_000):
        message = read_message(packed)
        assert message is not None
        assert len(packed) <= MAX_MESSAGE_BYTES
        found += evidence_of(message)
    return found


def sorted_keys(one: Evidence) -> Evidence:
    keys = tuple(sorted(one.keys, key=lambda key: (key.family, key.value)))
    return Evidence(one.account_id, one.at_us, keys, one.is_exempt, one.created_us)


async def test_what_is_offered_arrives_whole_and_in_order(store: RedisStore) -> None:
    log = MessageLog(store, "evidence", most=1_000)
    sender = EvidenceSender(log)
    offered = [evidence(n) for n in range(500)]
    for one in offered:
        sender.offer(one)
    await sender.aclose()
    assert await all_of(log) == [sorted_keys(one) for one in offered]
    assert (sender.pairs, sender.dropped) == (1_500, 0)
    assert sender.sent < 20  # they travelled together


async def test_reading_goes_on_behind_a_position_and_what_was_read_is_forgotten(
    store: RedisStore,
) -> None:
    log = MessageLog(store, "evidence", most=1_000)
    places = [await log.append(b"%d" % n) for n in range(5)]
    assert await log.read_after(places[1], most=2) == [(places[2], b"2"), (places[3], b"3")]
    await log.forget_up_to(places[3])
    assert [message for _, message in await log.read_after(START, most=9)] == [b"3", b"4"]


async def test_lag_is_the_age_of_the_oldest_unread_message(store: RedisStore) -> None:
    log = MessageLog(store, "evidence", most=1_000)
    assert await log.lag_s(START) == 0.0
    first = await log.append(b"1")
    last = await log.append(b"2")
    await asyncio.sleep(0.05)
    assert 0.05 <= await log.lag_s(START) < 5
    assert await log.lag_s(first) >= 0.05
    assert await log.lag_s(last) == 0.0


async def test_the_stream_is_bounded_when_nobody_reads(store: RedisStore) -> None:
    log = MessageLog(store, "evidence", most=500)
    for n in range(2_000):
        await log.append(b"%d" % n)
    kept = await log.read_after(START, most=10_000)
    assert 500 <= len(kept) <= 700  # whole nodes of a hundred entries
    assert kept[-1][1] == b"1999"


async def test_evidence_waits_for_a_store_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "RETRY_S", 0.05)
    with server(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as running:
        async with opened(running.url, prefix="t:") as store:
            log = MessageLog(store, "evidence", most=1_000)
            sender = EvidenceSender(log)
            running.stop()
            for n in range(100):
                sender.offer(evidence(n))
            await asyncio.sleep(stream.FLUSH_S * 2)
            assert (sender.sent, sender.dropped) == (0, 0)
            running.start()

            async def has_arrived() -> bool:
                return sender.sent > 0 and not sender._waiting

            await until(has_arrived, "the evidence's arrival")
            await sender.aclose()
            assert len(await all_of(log)) == 100


async def test_what_waits_is_bounded_and_the_oldest_goes_first(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_WAITING", 10)
    log = MessageLog(store, "evidence", most=1_000)
    sender = EvidenceSender(log)
    for n in range(25):
        sender.offer(evidence(n))
    await sender.aclose()
    assert sender.dropped == 15
    assert [one.account_id for one in await all_of(log)] == [f"acc_{n}" for n in range(15, 25)]


def test_what_is_no_message_is_told_apart() -> None:
    assert read_message(b"\x93\x01\x02") is None
    assert read_message(b"") is None
