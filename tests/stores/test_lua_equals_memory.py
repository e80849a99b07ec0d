"""The Lua and the memory store give the same answers to any history of charges and settlements."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import StoreError
from gateway.loadtests.servers.valkey import Server
from gateway.model import (
    SECOND_US,
    Charge,
    ChargeReply,
    Correction,
    Effect,
    Settlement,
    Step,
    StepKind,
    Subject,
)
from gateway.stores import RedisStore, open_store
from gateway.stores.memory import MemoryStore

from .steps import NOW_US

TAGS = ("a:acc_1", "o:org_1", "g:all:0")
FIELDS = ("rpm", "tpm:model-a", "tpm:model-b")
MAX_GAP_US = 5 * SECOND_US  # a history stays within what both keep of an idle key


@dataclass(frozen=True)
class Charging:
    gap_us: int
    steps: tuple[Step, ...]
    version_age: int  # 0: the current version, 1: the one before, None: no account


@dataclass(frozen=True)
class Settling:
    gap_us: int
    which: int  # of the charges so far
    delta_us: int
    is_repeated: bool


@dataclass(frozen=True)
class Changing:
    """The operator writes the account."""

    tier: str


gcra_steps = st.builds(
    Step,
    tag=st.sampled_from(TAGS),
    field=st.sampled_from(FIELDS),
    kind=st.just(StepKind.GCRA),
    effect=st.sampled_from(Effect),
    amount=st.integers(0, 4 * SECOND_US),
    ceiling=st.integers(0, 10 * SECOND_US),
    ttl_us=st.integers(0, 600 * SECOND_US),
)
lease_steps = st.builds(
    Step,
    tag=st.sampled_from(TAGS),
    field=st.sampled_from(("parallel", "parallel:model-a")),
    kind=st.just(StepKind.LEASE),
    effect=st.sampled_from(Effect),
    amount=st.integers(0, 3),
    ceiling=st.integers(0, 6),
    ttl_us=st.integers(1, 8 * SECOND_US),
)
step_lists = st.lists(
    st.one_of(gcra_steps, lease_steps),
    max_size=6,
    unique_by=lambda step: (step.tag, step.field, step.effect.is_shadow),
).map(tuple)
gaps = st.integers(-SECOND_US // 10, MAX_GAP_US)  # clocks of a cluster's nodes may step back
histories = st.lists(
    st.one_of(
        st.builds(Charging, gaps, step_lists, st.sampled_from([0, 0, 0, 1])),
        st.builds(
            Settling,
            gaps,
            st.integers(0, 30),
            st.integers(-5 * SECOND_US, 5 * SECOND_US),
            st.booleans(),
        ),
        st.builds(Changing, st.sampled_from(["start", "scale"])),
    ),
    max_size=25,
)

Outcome = ChargeReply | str
History = list[Charging | Settling | Changing]


async def play(store: RedisStore | MemoryStore, history: History) -> list[Outcome]:
    """What the store answers, versions by their rank, as two clocks gave them."""
    outcomes: list[Outcome] = []
    charged: list[tuple[Charge, ChargeReply]] = []
    subject = await store.put(Subject("acc_1"), None)
    versions = [0, subject.version]
    now_us = NOW_US
    for number, event in enumerate(history):
        if isinstance(event, Changing):
            subject = await store.put(replace(subject, tier=event.tier), None)
            versions.append(subject.version)
            continue
        now_us += event.gap_us
        if isinstance(event, Settling):
            if charged:
                due = settlement_of(event, *charged[event.which % len(charged)], now_us)
                await store.settle(due)
                if event.is_repeated:
                    leases = [c for c in due.corrections if c.kind is StepKind.LEASE]
                    await store.settle(replace(due, corrections=tuple(leases)))
            continue
        asked = Charge(
            f"lease-{number}", "acc_1", versions[-1 - event.version_age], event.steps, now_us
        )
        reply = await store.charge(asked)
        if reply.applied:
            charged.append((asked, reply))
        new = reply.subject and replace(
            reply.subject, version=versions.index(reply.subject.version), pseudonym=None
        )
        outcomes.append(replace(reply, subject=new))
    outcomes.extend([reply async for reply in looks(store, now_us)])
    return outcomes


def settlement_of(event: Settling, asked: Charge, reply: ChargeReply, now_us: int) -> Settlement:
    corrections = [
        Correction(
            step.tag,
            step.field,
            step.kind,
            step.effect,
            step.amount if step.kind is StepKind.LEASE else event.delta_us,
            result.level,
            step.ttl_us,
        )
        for step, result in zip(asked.steps, reply.results, strict=True)
        if step.effect in (Effect.ENFORCE, Effect.SHADOW) and result.allowed
    ]
    return Settlement(asked.lease_id, tuple(corrections), now_us)


async def looks(store: RedisStore | MemoryStore, now_us: int) -> AsyncIterator[ChargeReply]:
    """The whole state, as far as it can be told from outside."""
    for effect in (Effect.LOOK, Effect.LOOK_SHADOW):
        steps = [Step(t, f, StepKind.GCRA, effect, 0, 0, 0) for t in TAGS for f in FIELDS]
        steps += [
            Step(t, f, StepKind.LEASE, effect, 0, 0, 0)
            for t in TAGS
            for f in ("parallel", "parallel:model-a")
        ]
        yield await store.charge(Charge("look", None, 0, tuple(steps), now_us))


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories)
def test_any_history_has_equal_answers_and_leaves_equal_counters(
    valkey: Server, history: History
) -> None:
    async def play_both() -> tuple[list[Outcome], list[Outcome]]:
        opened = await open_store(
            valkey.url, secret_fingerprint="0", prefix=f"p{secrets.token_hex(6)}:", timeout_s=5.0
        )
        try:
            return await play(opened, history), await play(MemoryStore(lambda: 0), history)
        finally:
            await opened.aclose()

    on_server, in_memory = asyncio.run(play_both())
    assert on_server == in_memory


async def test_full_sets_of_counters_are_kept_alike(valkey: Server) -> None:
    """More names than a hash holds, drained and not, charged and settled."""
    opened = await open_store(
        valkey.url, secret_fingerprint="0", prefix=f"p{secrets.token_hex(6)}:", timeout_s=5.0
    )
    stores: list[RedisStore | MemoryStore] = [opened, MemoryStore(lambda: 0)]
    try:
        answers = [await crowd(store) for store in stores]
    finally:
        await opened.aclose()
    assert answers[0] == answers[1]


async def crowd(store: RedisStore | MemoryStore) -> list[ChargeReply]:
    replies = []
    for n in range(900):
        now_us = NOW_US + n * SECOND_US // 40
        step = Step(
            *("a:acc_1", f"tpm:{n % 700}", StepKind.GCRA, Effect.ENFORCE),
            *((n % 13) * SECOND_US, 20 * SECOND_US, 60 * SECOND_US),
        )
        asked = Charge(f"l-{n}", None, 0, (step,), now_us)
        reply = await store.charge(asked)
        replies.append(reply)
        if reply.applied and n % 3 == 0:
            event = Settling(0, 0, (n % 7 - 3) * SECOND_US, is_repeated=False)
            await store.settle(settlement_of(event, asked, reply, now_us))
    return replies


def test_the_memory_store_never_suspends() -> None:
    """So a driver can run it without an event loop."""

    async def everything() -> None:
        store = MemoryStore(lambda: NOW_US)
        subject = await store.put(Subject("acc_1"), {"c" * 32: "key_1"})
        await store.resolve("c" * 32)
        await store.adopt("d" * 32, Subject("key_1"), ttl_us=1)
        reply = await store.charge(Charge("l", "acc_1", subject.version, (), None))
        assert reply.applied
        await store.settle(Settlement("l", ()))
        assert len([one async for one in store.accounts()]) == 2
        with pytest.raises(StoreError, match="conflict"):
            await store.put(replace(subject, version=1), None)
        await store.remove("acc_1")

    running = everything()
    try:
        running.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited for something")
