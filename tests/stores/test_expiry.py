"""How long each key lasts: what nobody uses goes by itself, and nothing goes while it counts."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.loadtests.servers.valkey import Server
from gateway.model import SECOND_US, Effect, Settlement, Status, Step, Subject
from gateway.stores import RedisStore, open_store

from .steps import TAG, charge, correction, gcra, lease

PATIENT_S = 5.0
SHORT_US, LONG_US = 60 * SECOND_US, 3600 * SECOND_US


@pytest.fixture
async def store(valkey: Server) -> AsyncIterator[RedisStore]:
    opened = await open_store(
        valkey.url, secret_fingerprint="0", prefix=new_prefix(), timeout_s=PATIENT_S
    )
    yield opened
    await opened.aclose()


def new_prefix() -> str:
    return f"e{secrets.token_hex(4)}:"


async def lasts_us(store: RedisStore) -> int:
    """How long the counters of `TAG` are kept from now on."""
    left_ms: int = await store._client.pttl(store._keys.counters(TAG, is_shadow=False))
    return left_ms * 1000


# ── counters ─────────────────────────────────────────────────────────────────────────────────


async def test_counters_last_as_long_as_the_longest_lived_of_them(store: RedisStore) -> None:
    short, long = (replace(gcra(name), ttl_us=us) for name, us in (("s", SHORT_US), ("l", LONG_US)))
    await store.charge(charge(short, now_us=None))
    assert SHORT_US < await lasts_us(store) < LONG_US
    await store.charge(charge(long, now_us=None))
    assert await lasts_us(store) > LONG_US
    await store.charge(charge(short, now_us=None))
    assert await lasts_us(store) > LONG_US


async def test_a_debt_lasts_until_it_has_drained(store: RedisStore) -> None:
    step = replace(gcra(), ttl_us=SHORT_US)
    reply = await store.charge(charge(step, now_us=None))
    before_us = await lasts_us(store)
    owed = correction(step, reply.results[0], before_us + LONG_US)
    await store.settle(Settlement("one", (owed,), None))
    assert await lasts_us(store) > before_us + LONG_US
    await store.charge(charge(replace(gcra("other"), ttl_us=SHORT_US), now_us=None))
    assert await lasts_us(store) > before_us + LONG_US


async def test_what_only_a_settlement_made_goes_as_well(store: RedisStore) -> None:
    step: Step = replace(gcra(), ttl_us=SHORT_US)
    reply = await store.charge(charge(step, now_us=None))
    await store._client.delete(store._keys.counters(TAG, is_shadow=False))
    await store.settle(Settlement("one", (correction(step, reply.results[0], SECOND_US),), None))
    assert 0 < await lasts_us(store) < LONG_US


# ── accounts ─────────────────────────────────────────────────────────────────────────────────


async def test_every_key_but_the_operators_own_expires(valkey: Server) -> None:
    prefix = new_prefix()
    opened = await open_store(
        valkey.url, secret_fingerprint="0", prefix=prefix, timeout_s=PATIENT_S
    )
    try:
        await opened.put(Subject("acc_1"), {"c" * 32: "key_1"})
        adopted = await opened.adopt(
            "d" * 32, Subject("key_1", status=Status.ADOPTED), ttl_us=10**9
        )
        steps = gcra(), lease(), gcra(tag="o:1"), replace(gcra(), effect=Effect.SHADOW)
        await opened.charge(charge(*steps, now_us=None))
        with valkey.client() as client:
            for_ever = {name for name in client.scan_iter(f"{prefix}*") if client.ttl(name) == -1}
            names = {name.decode().removeprefix(prefix)[:7] for name in for_ever}
            assert names == {"meta", "{a:acc_", "k:ccccc", "p:" + pseudonym_of(for_ever, prefix)}
            await opened.put(replace(adopted, status=Status.BANNED), None)
            assert client.ttl(f"{prefix}k:{'d' * 32}") == -1
            assert client.ttl(f"{prefix}{{a:key_1}}:s") == -1
    finally:
        await opened.aclose()


async def test_an_adopted_account_that_is_used_is_kept_and_a_permanent_one_stays_permanent(
    valkey: Server,
) -> None:
    prefix = new_prefix()
    opened = await open_store(
        valkey.url, secret_fingerprint="0", prefix=prefix, timeout_s=PATIENT_S
    )
    names = [f"{prefix}k:{'d' * 32}", f"{prefix}{{a:key_1}}:s", f"{prefix}{{a:key_1}}:k"]
    try:
        adopted = await opened.adopt(
            "d" * 32, Subject("key_1", status=Status.ADOPTED), ttl_us=10**9
        )
        names.append(f"{prefix}p:{adopted.pseudonym}")
        with valkey.client() as client:
            assert all(0 < client.ttl(name) <= 1000 for name in names)
            await opened.resolve("d" * 32)
            assert all(client.ttl(name) > 29 * 86_400 for name in names)
            await opened.put(replace(adopted, tier="known"), None)
            await opened.resolve("d" * 32)
            assert [client.ttl(name) for name in names] == [-1] * 4
    finally:
        await opened.aclose()


def pseudonym_of(names: set[bytes], prefix: str) -> str:
    (found,) = [n for n in names if n.startswith(f"{prefix}p:".encode())]
    return found.decode().removeprefix(f"{prefix}p:")[:5]
