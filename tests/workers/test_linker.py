"""The linker's process on a real store: evidence in, clusters out, through crashes and orders."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.linking.linker import Evidence, Linker
from gateway.model import Status, Subject
from gateway.stores import RedisStore
from gateway.stores.stream import EVIDENCE_MESSAGES, EvidenceSender, MessageLog
from gateway.workers.cluster_desk import NoAnswerError
from gateway.workers.linker import Pace, _Reign
from gateway.workers.linker_state import Progress

from .linking import (
    FAST,
    POOL,
    AuditLines,
    Running,
    bystanders,
    campaign,
    desk_on,
    linker_on,
    opened,
    put_accounts,
    until,
)

NO_SNAPSHOTS = Pace(tick_s=0.05, snapshot_s=3_600, lease_s=1.0)


@pytest.fixture
async def store(valkey: Any) -> AsyncIterator[RedisStore]:
    async with opened(valkey.url) as one:
        yield one


async def tell(store: RedisStore, evidence: list[Evidence]) -> int:
    """As a worker does; returns the number of pairs."""
    sender = EvidenceSender(MessageLog(store, "evidence", most=EVIDENCE_MESSAGES))
    for one in evidence:
        sender.offer(one)
    await sender.aclose()
    assert sender.dropped == 0
    return sender.pairs


async def clusters_of(store: RedisStore, name: str = "pool") -> set[str | None]:
    subjects = [await store.get(f"{name}_{n}") for n in range(POOL)]
    return {subject.cluster_id for subject in subjects if subject is not None}


async def until_linked(store: RedisStore, name: str = "pool") -> str:
    async def is_linked() -> bool:
        found = await clusters_of(store, name)
        return len(found) == 1 and None not in found

    await until(is_linked, f"the {name}'s cluster")
    (cluster_id,) = await clusters_of(store, name)
    assert cluster_id is not None
    return cluster_id


async def until_read(store: RedisStore, pairs: int) -> None:
    desk = desk_on(store)

    async def is_read() -> bool:
        status, lag_s = await desk.status()
        return status is not None and status.pairs >= pairs and lag_s == 0

    await until(is_read, "the reading of all evidence")


async def test_a_pool_is_linked_and_bystanders_are_not(store: RedisStore) -> None:
    told = [*bystanders(), *campaign()]
    await put_accounts(store, told)
    await store.put(replace(await known(store, "pool_7"), status=Status.BANNED), None)
    async with linker_on(store):
        await tell(store, told)
        cluster_id = await until_linked(store)
        status, lag_s = await desk_on(store).status()
    pooled = await known(store, "pool_7")
    assert (pooled.status, pooled.cluster_size) == (Status.BANNED, POOL)
    assert all([(await known(store, f"someone_{n}")).cluster_id is None for n in range(0, 400, 40)])
    assert cluster_id.startswith("cl_")
    assert lag_s == 0
    assert status is not None
    assert (status.clusters["suspected"], status.accounts["suspected"]) == (1, POOL)


async def known(store: RedisStore, account_id: str) -> Subject:
    subject = await store.get(account_id)
    assert subject is not None
    return subject


async def test_on_a_cluster_too(redis_cluster: Any) -> None:
    async with opened(redis_cluster.url) as store:
        told = [*bystanders(100), *campaign()]
        await put_accounts(store, told)
        async with linker_on(store):
            await tell(store, told)
            cluster_id = await until_linked(store)
            answer = await desk_on(store).order(
                "confirm", cluster_id, by="ada", reason="bought in bulk", cluster_id=cluster_id
            )
            assert answer == {"cluster_id": cluster_id, "state": "confirmed"}

            async def is_confirmed() -> bool:
                return (await known(store, "pool_0")).cluster_state == "confirmed"

            await until(is_confirmed, "the confirmation")
        async with linker_on(store):
            found = await desk_on(store).ask("list")
    assert [one["state"] for one in found["clusters"]] == ["confirmed"]


async def test_with_the_linker_down_what_was_published_stays_and_later_evidence_waits(
    store: RedisStore,
) -> None:
    told, later = [*bystanders(), *campaign()], list(campaign(name="other"))
    await put_accounts(store, told + later)
    async with linker_on(store):
        pairs = await tell(store, told)
        cluster_id = await until_linked(store)
    pairs += await tell(store, later)
    assert await clusters_of(store) == {cluster_id}
    await asyncio.sleep(0.05)
    _, lag_s = await desk_on(store).status()
    assert lag_s >= 0.05
    async with linker_on(store):
        other = await until_linked(store, "other")
        await until_read(store, pairs)
        status, _ = await desk_on(store).status()
    assert await clusters_of(store) == {cluster_id}
    assert other != cluster_id
    assert status is not None
    assert (status.pairs, status.repeats, status.lost) == (pairs, 0, 0)


async def test_after_a_crash_nothing_is_missing_and_nothing_counts_twice(
    store: RedisStore,
) -> None:
    told, later = [*bystanders(), *campaign()], list(campaign(name="other"))
    await put_accounts(store, told + later)
    first = Running(store)
    pairs = await tell(store, told)
    cluster_id = await until_linked(store)
    await first.kill()
    second = Running(store, pace=NO_SNAPSHOTS)  # it reads, and dies before any snapshot holds it
    pairs += await tell(store, later[: POOL // 2])
    await until_read(store, pairs)
    await second.kill()
    pairs += await tell(store, later[POOL // 2 :])
    async with linker_on(store):
        await until_linked(store, "other")
        await until_read(store, pairs)
        status, _ = await desk_on(store).status()
    assert await clusters_of(store) == {cluster_id}  # it has kept its name
    assert status is not None
    assert (status.pairs, status.repeats, status.lost) == (pairs, 0, 0)


async def test_a_standby_takes_over_from_a_leader_that_stops(store: RedisStore) -> None:
    told, later = [*bystanders(100), *campaign()], list(campaign(name="other"))
    await put_accounts(store, told + later)
    first = Running(store, "first")
    await until(lambda: _is(first), "the first's lead")
    async with linker_on(store) as second:
        await tell(store, told)
        await until_linked(store)
        assert not second.process.is_leading
        stopped_s = time.monotonic()
        await first.stop()
        await until(lambda: _is(second), "the takeover")
        assert time.monotonic() - stopped_s < FAST.lease_s + 2
        await tell(store, later)
        await until_linked(store, "other")


async def _is(running: Running) -> bool:
    return running.process.is_leading


async def test_a_leader_that_lost_its_lease_writes_nothing_more(store: RedisStore) -> None:
    """Stopped in the middle (a paused machine), while another took over."""
    told = [*bystanders(100), *campaign()]
    await put_accounts(store, told)
    first = Running(store, "first")
    await until(lambda: _is(first), "the first's lead")
    await store._client.set(first.process._lease.key, "somebody else", px=2_000)
    await until(lambda: _is_not(first), "the first's fall")
    await tell(store, told)
    await asyncio.sleep(0.5)
    assert await clusters_of(store) == {None}
    await until_linked(store)  # once the other's lease has lapsed it leads again
    await first.stop()


async def _is_not(running: Running) -> bool:
    return not running.process.is_leading


# ── people ───────────────────────────────────────────────────────────────────────────────────


async def test_a_dismissal_holds_at_once_and_after_a_crash(store: RedisStore) -> None:
    told = [*bystanders(100), *campaign()]
    await put_accounts(store, told)
    audit = AuditLines()
    desk = desk_on(store, audit)
    first = Running(store, pace=NO_SNAPSHOTS)
    await tell(store, told)
    cluster_id = await until_linked(store)
    answer = await desk.order(
        "dismiss", cluster_id, by="ada", reason="one agency, known", cluster_id=cluster_id
    )
    await first.kill()
    assert answer["state"] == "dismissed"
    assert audit.lines == [
        ("cluster.dismiss", cluster_id, "ada", "one agency, known", outcome)
        for outcome in ("asked", "done")
    ]
    async with linker_on(store):
        shown = await desk.ask("show", cluster_id=cluster_id)
        await until(lambda: _says(store, "dismissed"), "the dismissal in the accounts")
    assert shown["state"] == "dismissed"
    assert [(d["by"], d["reason"]) for d in shown["decisions"]] == [("ada", "one agency, known")]


async def _says(store: RedisStore, state: str) -> bool:
    return all([(await known(store, f"pool_{n}")).cluster_state == state for n in range(POOL)])


async def test_frozen_links_nobody_and_undo_takes_back(store: RedisStore) -> None:
    told, later = [*bystanders(100), *campaign()], list(campaign(name="other"))
    await put_accounts(store, told + later)
    desk = desk_on(store)
    began_us = time.time_ns() // 1000
    async with linker_on(store):
        pairs = await tell(store, told)
        await until_linked(store)
        await desk.order("freeze", "linker", by="ada", reason="complaints")
        pairs += await tell(store, later)
        await until_read(store, pairs)
        await asyncio.sleep(0.3)
        assert await clusters_of(store, "other") == {None}
        undone = await desk.order("undo", "since", by="ada", reason="complaints", since_us=began_us)
        assert undone["undone"] == POOL

        async def is_free() -> bool:
            return await clusters_of(store) == {None}

        await until(is_free, "the undoing")
        assert (await desk.ask("list"))["frozen"] is True
    async with linker_on(store):  # a restart does not thaw it
        assert (await desk.ask("list"))["frozen"] is True
        await desk.order("thaw", "linker", by="ada", reason="settled")
        await until_linked(store, "other")


async def test_split_and_pin_move_accounts(store: RedisStore) -> None:
    told = [*bystanders(100), *campaign()]
    await put_accounts(store, told)
    desk = desk_on(store)
    async with linker_on(store):
        await tell(store, told)
        cluster_id = await until_linked(store)
        accounts = ["pool_0", "pool_1"]
        made = await desk.order(
            "split", cluster_id, by="a", reason="r", cluster_id=cluster_id, accounts=accounts
        )
        await desk.order("pin", "pool_2", by="a", reason="r", account_id="pool_2", cluster_id=None)

        async def homes() -> list[str | None]:
            return [(await known(store, f"pool_{n}")).cluster_id for n in range(4)]

        moved = [made["cluster_id"]] * 2 + [None, cluster_id]

        async def have_moved() -> bool:
            return await homes() == moved

        await until(have_moved, "the accounts' move")
        assert await homes() == moved


async def test_pinning_to_none_clears_what_a_lost_state_had_published(store: RedisStore) -> None:
    stale = Subject("acc_1", cluster_id="cl_lost", cluster_state="confirmed", suspicion=1.0)
    await store.put(stale, {})
    async with linker_on(store):
        await desk_on(store).order(
            "pin", "acc_1", by="ada", reason="r", account_id="acc_1", cluster_id=None
        )

        async def said() -> tuple[object, ...]:
            one = await known(store, "acc_1")
            return one.cluster_id, one.cluster_state, one.suspicion

        async def is_clear() -> bool:
            return await said() == (None, None, None)

        await until(is_clear, "the clearing")
        assert await said() == (None, None, None)


async def test_decisions_go_from_one_store_to_another(store: RedisStore, valkey: Any) -> None:
    told = [*bystanders(100), *campaign()]
    await put_accounts(store, told)
    async with linker_on(store):
        await tell(store, told)
        cluster_id = await until_linked(store)
        desk = desk_on(store)
        await desk.order("dismiss", cluster_id, by="ada", reason="known", cluster_id=cluster_id)
        exported = (await desk.ask("export"))["decisions"]
    async with opened(valkey.url) as elsewhere, linker_on(elsewhere):
        await put_accounts(elsewhere, told)
        desk = desk_on(elsewhere)
        answer = await desk.order("import", "1", by="bo", reason="moved", decisions=exported)
        assert answer == {"imported": 1, "problems": []}
        await until(lambda: _says(elsewhere, "dismissed"), "the dismissal elsewhere")


@pytest.mark.parametrize(
    ("action", "args", "reason", "code"),
    [
        pytest.param("confirm", {"cluster_id": "cl_none"}, "r", 404, id="no such cluster"),
        pytest.param("confirm", {"cluster_id": "cl_none"}, " ", 422, id="no reason"),
        pytest.param("split", {"cluster_id": "x", "accounts": []}, "r", 422, id="nobody to split"),
        pytest.param("undo", {"since_us": 2**60}, "r", 422, id="in the future"),
        pytest.param("import", {"decisions": ["x"]}, "r", 422, id="no decisions"),
    ],
)
async def test_an_order_that_cannot_be_obeyed_changes_nothing(
    store: RedisStore, action: str, args: dict[str, Any], reason: str, code: int
) -> None:
    audit = AuditLines()
    async with linker_on(store):
        answer = await desk_on(store, audit).order(action, "t", by="ada", reason=reason, **args)
        listed = await desk_on(store).ask("export")
    assert answer["code"] == code
    assert listed["decisions"] == []
    assert [line[-1] for line in audit.lines] == ["asked", "refused"]


async def test_an_order_while_nobody_leads_is_kept_and_a_question_is_not(
    store: RedisStore,
) -> None:
    desk = desk_on(store, wait_s=0.2)
    with pytest.raises(NoAnswerError, match="holds once one leads"):
        await desk.order("freeze", "linker", by="ada", reason="r")
    with pytest.raises(NoAnswerError, match="stays in force"):
        await desk.ask("list")
    async with linker_on(store):
        assert (await desk_on(store).ask("list"))["frozen"] is True


def test_snapshots_take_a_tenth_of_the_time_at_most() -> None:
    reign = _Reign(Linker(), Progress(), Pace(snapshot_s=0.0))
    reign.saved(set(), took_s=60.0)
    reign.save_early()
    assert not reign.is_snapshot_due()
    reign.saved(set(), took_s=0.0)
    assert reign.is_snapshot_due()
