"""News for the directory, places that last, and who gave up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.friction.record import ABANDONED_US, CLEAN_US, EMPTY
from gateway.loadtests.bench_verifications import GOAL_BYTES, measure
from gateway.loadtests.servers.valkey import server
from gateway.model import SECOND_US
from gateway.stores import open_store
from gateway.stores.verification import VerificationBook

from ..core.builders import policy
from .verification_house import HOUR_US, House, directory, house

__all__ = ["directory", "house"]


async def test_nothing_is_lost_while_the_receiver_is_down(house: House) -> None:
    house.inbox.is_down = True
    for number in range(5):
        await house.pass_mail(f"acc_{number}")
    for _ in range(4):
        await house.rounds.round()
        house.clock.us += 60 * SECOND_US
    assert house.inbox.told == []
    assert set(house.news) == {"retried"}
    house.inbox.is_down = False
    house.clock.us += HOUR_US
    await house.rounds.round()
    assert sorted(news["account_id"] for news in house.inbox.told) == [
        f"acc_{number}" for number in range(5)
    ]
    assert {news["event"] for news in house.inbox.told} == {"verification.granted"}
    house.clock.us += HOUR_US
    await house.rounds.round()
    assert len(house.inbox.told) == 5


async def test_waits_grow_between_attempts(house: House) -> None:
    house.inbox.is_down = True
    await house.pass_mail("acc_1")
    attempts = []
    for second in range(0, 200):
        before = len(house.news)
        await house.rounds.round()
        if len(house.news) > before:
            attempts.append(second)
        house.clock.us += SECOND_US
    assert attempts == [0, 5, 15, 35, 75, 155]


async def test_what_is_given_up_on_lies_with_the_dead_until_it_is_told(house: House) -> None:
    house.inbox.is_down = True
    await house.pass_mail("acc_1")
    house.clock.us += 3 * HOUR_US
    await house.rounds.round()
    book = VerificationBook(house.store)
    (event_id, _), *others = await book.dead(most=10)
    assert others == []
    assert await house.rounds.retell_dead() == 0
    house.inbox.is_down = False
    assert await house.rounds.retell_dead() == 1
    assert await book.dead_count() == 0
    assert [news["id"] for news in house.inbox.told] == [event_id]


async def test_dead_news_that_is_refused_keeps_no_other_from_being_told(house: House) -> None:
    house.inbox.is_down = True
    for number in range(3):
        await house.pass_mail(f"acc_{number}")
    house.clock.us += 3 * HOUR_US
    await house.rounds.round()
    house.inbox.is_down, house.inbox.refuses = False, "acc_1"
    assert await house.rounds.retell_dead() == 2
    assert [news["account_id"] for news in house.inbox.told] != ["acc_1"]
    assert await VerificationBook(house.store).dead_count() == 1


async def test_a_receiver_that_does_not_answer_is_waited_for_once_a_round(house: House) -> None:
    for number in range(30):
        await house.pass_mail(f"acc_{number}")
    attempts = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as away:
        port = away.sockets[0].getsockname()[1]
        home, house.inbox.url = house.inbox.url, f"http://127.0.0.1:{port}/"
        assert await house.rounds.round() == 30
    assert 1 <= attempts <= 8
    house.inbox.url = home
    house.clock.us += 60 * SECOND_US
    await house.rounds.round()
    assert len(house.inbox.told) == 30


async def test_who_gives_up_is_counted_once_and_forgotten(house: House) -> None:
    await house.start("acc_1")
    house.clock.us += ABANDONED_US + SECOND_US
    for _ in range(3):
        await house.rounds.round()
    assert house.counted == [("email", "started"), ("email", "abandoned")]
    entry = await VerificationBook(house.store).read("acc_1")
    assert entry is not None
    assert entry.record == EMPTY


@pytest.mark.parametrize(
    ("state", "outcome"), [(None, "clean"), ("confirmed", "tainted"), ("watched", "clean")]
)
async def test_a_week_later_one_looks_whether_who_passed_stayed_clean(
    house: House, state: str | None, outcome: str
) -> None:
    await house.pass_mail("acc_1")
    await house.rounds.round()
    stored = await house.store.get("acc_1")
    assert stored is not None
    await house.store.put(replace(stored, cluster_id="c", cluster_state=state), None)
    house.clock.us += CLEAN_US
    for _ in range(2):
        await house.rounds.round()
    assert [said for _, said in house.counted if said in ("clean", "tainted")] == [outcome]


async def test_a_pending_verification_takes_under_a_kilobyte(tmp_path: Path) -> None:
    """`python -m hydragate.loadtests.bench_verifications` measures ten thousand."""
    with server(tmp_path) as alone:  # what others leave and free would be measured, too
        store = await open_store(alone.url, secret_fingerprint="0", timeout_s=5.0)
        try:
            await measure(store, policy(), 10)  # scripts are loaded once, whatever the number
            await store.wipe()
            taken = await measure(store, policy(), 100)
        finally:
            await store.aclose()
    assert 0 < taken.pending_bytes < 100 * GOAL_BYTES / 10_000
