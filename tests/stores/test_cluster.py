"""A Cluster that changes under load: slots move, nodes die, and nobody is charged for it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.errors import StoreError
from gateway.loadtests.bench_failover import account_on
from gateway.loadtests.servers.cluster import Cluster, cluster, slot_of
from gateway.loadtests.servers.valkey import Server, binaries
from gateway.model import Subject
from gateway.stores import RedisStore, open_store

from .steps import charge, gcra, look

PREFIX = "hg:"


@pytest.fixture(scope="module", params=binaries())
def redis_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Of Valkey, and of Redis where the machine has one: slots move by the server's own rules."""
    folder = tmp_path_factory.mktemp("cluster")
    with cluster(folder, binary=binaries()[request.param]) as running:
        yield running


@pytest.fixture
async def store(redis_cluster: Cluster) -> AsyncIterator[RedisStore]:
    opened = await open_store(
        redis_cluster.url, secret_fingerprint="0", prefix=PREFIX, timeout_s=5.0
    )
    yield opened
    await opened.aclose()


def begin_move(running: Cluster, slot: int, source: Server, target: Server) -> None:
    with source.client() as at_source, target.client() as at_target:
        at_target.execute_command(
            *("CLUSTER", "SETSLOT", slot, "IMPORTING", running.node_id(source))
        )
        at_source.execute_command(
            *("CLUSTER", "SETSLOT", slot, "MIGRATING", running.node_id(target))
        )


def move_keys(slot: int, source: Server, target: Server) -> None:
    with source.client() as at_source:
        while names := at_source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            at_source.execute_command(
                *("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *names)
            )


def end_move(running: Cluster, slot: int, target: Server) -> None:
    for node in [target, *(node for node in running.nodes if node is not target)]:
        with node.client() as client:
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", running.node_id(target))


async def level(store: RedisStore, tag: str) -> int:
    return (await store.charge(charge(look(gcra(tag=tag))))).results[0].level


async def test_charges_follow_a_slot_while_and_after_it_moves(
    store: RedisStore, redis_cluster: Cluster
) -> None:
    source, target, _ = redis_cluster.nodes
    account_id = account_on(redis_cluster, source)
    tag = f"a:{account_id}"
    slot, step = slot_of(tag), gcra(tag=tag)
    subject = await store.put(Subject(account_id), {secrets.token_hex(16): "key_1"})

    async def charged() -> int:
        reply = await store.charge(charge(step, account_id=account_id, version=subject.version))
        assert reply.applied
        return reply.results[0].level

    first = await charged()
    try:
        begin_move(redis_cluster, slot, source, target)
        move_keys(slot, source, target)
        assert await charged() == first + step.amount  # ASK
        assert await store.get(account_id) == subject
    finally:
        end_move(redis_cluster, slot, target)
    assert await charged() == first + 2 * step.amount  # MOVED
    levels = await asyncio.gather(*(charged() for _ in range(5)))
    assert sorted(levels) == [first + n * step.amount for n in range(3, 8)]
    begin_move(redis_cluster, slot, target, source)
    move_keys(slot, target, source)
    end_move(redis_cluster, slot, source)
    assert await charged() == first + 8 * step.amount


async def test_a_slot_caught_half_moved_is_charged_once_or_not_at_all(
    store: RedisStore, redis_cluster: Cluster
) -> None:
    """Some keys of a script call are here and some there: the nodes say TRYAGAIN."""
    source, target, _ = redis_cluster.nodes
    account_id = account_on(redis_cluster, source)
    tag = f"a:{account_id}"
    slot, step = slot_of(tag), gcra(tag=tag)
    subject = await store.put(Subject(account_id), None)
    asked = charge(step, account_id=account_id, version=subject.version)
    first = (await store.charge(asked)).results[0].level
    begin_move(redis_cluster, slot, source, target)
    with source.client() as client:
        name = f"{PREFIX}{{{tag}}}"
        client.execute_command(*("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", name))
    with pytest.raises(StoreError) as caught:
        await store.charge(asked)
    assert caught.value.kind == "unreachable"
    move_keys(slot, source, target)
    end_move(redis_cluster, slot, target)
    assert await level(store, tag) == first
    begin_move(redis_cluster, slot, target, source)
    move_keys(slot, target, source)
    end_move(redis_cluster, slot, source)
    assert (await store.charge(asked)).results[0].level == first + step.amount


async def test_a_dead_node_fails_its_own_accounts_and_charges_no_neighbour(
    tmp_path: Path,
) -> None:
    with cluster(tmp_path) as running:
        store = await open_store(running.url, secret_fingerprint="0", timeout_s=1.0)
        alive, dead = running.nodes[0], running.nodes[2]
        here, there = (f"a:{account_on(running, node)}" for node in (alive, dead))
        try:
            await store.set_shadow_all(True)
            assert (await store.charge(charge(gcra(tag=here), gcra(tag=there)))).applied
            before = await level(store, here)
            dead.stop()
            for _ in range(20):
                with pytest.raises(StoreError):
                    await store.charge(charge(gcra(tag=here), gcra(tag=there)))
            assert await level(store, here) == before
            reply = await store.charge(charge(gcra(tag=here)))
            assert reply.applied
            assert reply.shadow_all  # also where the switch was on the dead node
        finally:
            await store.aclose()
