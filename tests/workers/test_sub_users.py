"""From requests of aggregators' users to refusals of them, in a replay and on a real store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.app import SystemClock
from gateway.commands.replay import FixedPolicy
from gateway.core.keyed import KeyedHash
from gateway.core.sub_users import parts_of
from gateway.engine import Engine
from gateway.model import SECOND_US, Subject, Verdict
from gateway.observe.ids import DecisionIds
from gateway.stores.memory import MemoryStore
from gateway.stores.stream import EVIDENCE_MESSAGES, EvidenceSender, MessageLog
from gateway.workers.feeds import FileFeed
from gateway.workers.linking_hook import LinkingHook
from gateway.workers.replay import REPLAY_SECRET
from gateway.workers.replay_files import ReplayPlan, ReplayRun
from tests.core.builders import FACTS
from tests.linking.test_sub_users import SIZE, honest, relayed, user

from .linking import linker_on, opened, until
from .test_replay import BASE_TS, decisions, exchange, write

SELLERS = 5
POLICY = """
version: 1
name: users
mode: enforce
unknown_credentials: refuse
on_store_error: deny
rules:
  - name: suspects
    why: users that act as one
    when: {cluster_state: suspected}
    on_unknown: no_match
    then: {deny: {}}
"""
LAST_S = 40_000.0


def call(n: int, at_s: float, *, talk: int = 0, turn: int = 0, who: str = "pool") -> dict[str, Any]:
    """One turn of a conversation; its answer is a tool call, whose id the next turn brings back."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Do the task as it stands, in the format that it says."},
        {"role": "user", "content": f"Task {who} {talk} of a long list that nobody else works on."},
    ]
    for before in range(turn):
        messages.append(called(who, talk, before))
        result = {"role": "tool", "tool_call_id": call_id(who, talk, before), "content": "done"}
        messages.append(result)
    body = {"model": "m", "messages": messages, "safety_identifier": f"{who} {n}"}
    answer = {"choices": [{"message": called(who, talk, turn)}]}
    response = {"status": 200, "latency_ms": 300, "body": answer}
    account = {"account_id": f"seller_{n % SELLERS}", "key_id": "key"}
    return exchange(0, ts=BASE_TS + at_s, body=body, response=response) | account


def called(who: str, talk: int, turn: int) -> dict[str, Any]:
    function = {"name": "run", "arguments": "{}"}
    calls = [{"id": call_id(who, talk, turn), "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def call_id(who: str, talk: int, turn: int) -> str:
    return "call_" + KeyedHash(REPLAY_SECRET).value("test", f"{who} {talk} {turn}")[:24]


def traffic() -> Iterator[dict[str, Any]]:
    """Four hundred conversations of a pool, each turn by another user; as many honest ones; then
    one request of everybody."""
    for talk in range(400):
        for turn in range(3):
            n = (talk + turn * (1 + talk // SIZE)) % SIZE
            yield call(n, 10 * talk + turn, talk=talk, turn=turn)
            yield call(n, 10 * talk + turn + 0.5, talk=talk, turn=turn, who=f"honest {n}")
    for n in range(SIZE):
        yield call(n, LAST_S + n, talk=1_000 + n)
        yield call(n, LAST_S + n + 0.5, talk=1_000 + n, who=f"honest {n}")


def test_a_replay_refuses_the_pool_and_none_of_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "out").mkdir()
    sellers = [
        json.dumps({"account_id": f"seller_{n}", "contracts": ["aggregator"]}).encode()
        for n in range(SELLERS)
    ]
    plan = ReplayPlan(
        feed=FileFeed(write(tmp_path / "t.jsonl", [*traffic()])),
        accounts=("accounts", lambda: sellers),
        events=None,
        out=tmp_path / "out",
        store=MemoryStore(),
        policies=FixedPolicy(tmp_path / "policy.yaml"),
        hook=LinkingHook(KeyedHash(REPLAY_SECRET)),
        lag_us=2 * SECOND_US,
    )
    asyncio.run(ReplayRun(plan).run())
    last = decisions(tmp_path)[-2 * SIZE :]
    pool, neighbours = last[0::2], last[1::2]
    assert sum(not one["served"] for one in pool) >= 0.8 * SIZE
    assert all(one["served"] for one in neighbours)
    assert all(one["cluster_id"] is None for one in neighbours)


async def test_a_user_is_refused_once_the_linker_has_published(valkey: Any, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    told = [one for one in [*honest(SELLERS), *relayed(SELLERS)] if one.keys]
    late_us = SystemClock().now_us() - max(one.at_us for one in told) - 10 * SECOND_US
    async with opened(valkey.url) as store, linker_on(store):
        for n in range(SELLERS):
            seller = Subject(f"seller_{n}", contracts=("aggregator",))
            await store.put(seller, {f"{n}" * 32: "key"})
        sender = EvidenceSender(MessageLog(store, "evidence", most=EVIDENCE_MESSAGES))
        for one in told:
            sender.offer(replace(one, at_us=one.at_us + late_us))
        await sender.aclose()

        async def is_linked() -> bool:
            found = [await store.get(f"seller_{n}") for n in range(SELLERS)]
            return sum(len(one.linked_users) for one in found if one is not None) >= 0.8 * SIZE

        await until(is_linked, "the users' cluster")
        engine = Engine(
            store=store,
            policies=FixedPolicy(tmp_path / "policy.yaml"),
            clock=SystemClock(),
            ids=DecisionIds(),
            keyed=KeyedHash(REPLAY_SECRET),
        )
        facts = replace(FACTS, credential="3" * 32, received_us=SystemClock().now_us())
        _, linked = parts_of(user(3, SELLERS))
        assert linked is not None
        refused = await engine.decide(replace(facts, end_user=linked * 2))
        passed = await engine.decide(replace(facts, end_user="f" * 32))
        own = await engine.decide(facts)
    assert [one.verdict for one in (refused, passed, own)] == [
        Verdict.DENY,
        Verdict.ALLOW,
        Verdict.ALLOW,
    ]
