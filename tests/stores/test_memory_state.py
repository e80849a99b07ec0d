"""A memory store restored from its snapshot answers as the one that was never interrupted."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import given, settings

from gateway.model import Charge, ChargeReply, Subject
from gateway.stores.memory import MemoryStore
from gateway.stores.memory_state import MemoryState

from .test_lua_equals_memory import History, histories, play


class Interrupted(MemoryStore):
    """Passes through its own snapshot before every charge."""

    async def charge(self, charge: Charge) -> ChargeReply:
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.snapshot()), type=MemoryState)
        self.restore(state)
        return await super().charge(charge)


@settings(deadline=None, max_examples=60)
@given(histories)
def test_a_snapshot_between_any_two_charges_changes_no_answer(history: History) -> None:
    assert asyncio.run(play(Interrupted(), history)) == asyncio.run(play(MemoryStore(), history))


async def test_accounts_and_their_keys_are_in_it() -> None:
    store, copy = MemoryStore(), MemoryStore()
    await store.put(Subject("acc_1", tier="start", quotas={"rpm": "5/min"}), {"aa": "key_1"})
    await store.set_shadow_all(True)
    data = msgspec.msgpack.encode(store.snapshot())
    copy.restore(msgspec.msgpack.decode(data, type=MemoryState))
    assert await copy.resolve("aa") == await store.resolve("aa")
    assert await copy.keys("acc_1") == {"aa": "key_1"}
    assert await copy.is_shadow_all()
