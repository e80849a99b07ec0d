"""Every implementation of the store that this machine can run, one after the other."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.loadtests.servers.valkey import binaries
from gateway.model import Step
from gateway.stores import RedisStore, open_store
from gateway.stores.memory import MemoryStore
from tests.stores.steps import NOW_US, charge, look

AnyStore = RedisStore | MemoryStore
KINDS = ["memory", "cluster", *binaries()]
FIXTURES = {"valkey": "valkey", "redis": "redis_server", "cluster": "redis_cluster"}
PATIENT_S = 5.0  # these tests are about answers; tests/stores/test_faults.py is about time


async def level_of(store: AnyStore, step: Step, now_us: int = NOW_US) -> int:
    """Where the step's counter stands; changes nothing."""
    reply = await store.charge(charge(look(step), now_us=now_us))
    return reply.results[0].level


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest) -> AsyncIterator[AnyStore]:
    """A store of its own for each test."""
    if request.param == "memory":
        yield MemoryStore(lambda: time.time_ns() // 1000)
        return
    running: Any = request.getfixturevalue(FIXTURES[request.param])
    opened = await open_store(
        running.url,
        secret_fingerprint="0" * 16,
        prefix=f"t{secrets.token_hex(4)}:",
        timeout_s=PATIENT_S,
    )
    try:
        yield opened
    finally:
        await opened.wipe()
        await opened.aclose()
