"""Scores of a replay are those of live traffic, and stand in the decision log with the rest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from gateway.adapters.reading import GuardConfig, RequestReader
from gateway.classifiers.account import score_account
from gateway.classifiers.load import ModelHolder
from gateway.classifiers.reader import TaskReader
from gateway.core.assess import assess
from gateway.core.judge import judge
from gateway.core.keyed import KeyedHash
from gateway.engine import Engine
from gateway.model import (
    ChargeReply,
    Exchange,
    Identity,
    Outcome,
    RequestFacts,
    StepResult,
    Subject,
    Usage,
)
from gateway.observe.explain import explain
from gateway.observe.ids import DecisionIds
from gateway.observe.log_line import LineEncoder, facts_of
from gateway.policy.load import PolicyHolder
from gateway.stores.memory import MemoryStore
from gateway.workers.feeds import FileFeed
from gateway.workers.replay import REPLAY_SECRET, Replay
from gateway.workers.replay_files import InterruptedReplayError, ReplayPlan, ReplayRun, Stop
from gateway.workers.traffic import TrafficLine

from .test_replay import BASE_TS, exchange, write

POLICY = """
version: 1
name: scored
mode: enforce
unknown_credentials: adopt
on_store_error: allow
limits:
  - {name: account-requests, why: "one is needed", by: account, quota: 6000/min,
     on_store_error: allow}
rules:
  - name: grading
    why: a score that is named
    mode: shadow
    when: {task_grading: {gte: 0.5}}
    on_unknown: no_match
    then: {deny: {}}
"""
BEHAVED = (
    POLICY
    + """
  - name: busy
    why: what the account did before
    when: {requests_24h: {gte: 1000}, collecting: {gte: 0.0}}
    on_unknown: no_match
    then: {throttle: 2s}
"""
)
UNSCORED = POLICY.replace("task_grading: {gte: 0.5}", "max_output_tokens: {gte: 4000}")
RUBRIC = "Score the answer against the rubric from 1 to 5, each criterion: correct, complete."


def body(number: int) -> dict[str, Any]:
    system = {"role": "system", "content": RUBRIC if number % 2 else f"Be brief. {number}"}
    said = {"role": "user", "content": f"Question {number}: why?\nAnswer: because of {number}."}
    return {"model": "m-1", "messages": [system, said]}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "behaved.yaml").write_text(BEHAVED)
    (tmp_path / "unscored.yaml").write_text(UNSCORED)
    write(tmp_path / "t.jsonl", [exchange(n, body=body(n)) for n in range(3_000)])
    return tmp_path


class _Clock:
    def now_us(self) -> int:
        return int(BASE_TS * 1e6)


def engine(policy: Path, now_us: int = 0) -> Engine:
    return Engine(
        store=MemoryStore(lambda: now_us),
        policies=PolicyHolder(policy),
        clock=_Clock(),
        ids=DecisionIds(),
        keyed=KeyedHash(REPLAY_SECRET),
        tasks=TaskReader(ModelHolder()),
    )


async def live(reader: RequestReader, sent: bytes) -> RequestFacts:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent, "more_body": False}

    path = "/v1/chat/completions"
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "query_string": b""}
    scope |= {"raw_path": path.encode(), "client": ("203.0.113.7", 1)}
    scope["headers"] = [(b"host", b"x"), (b"authorization", b"Bearer sk-1")]
    request = await reader.read(scope, receive)
    assert request.error is None
    return request.facts


def replayed(files: Path, count: int) -> Iterator[RequestFacts]:
    policies = PolicyHolder(files / "policy.yaml")
    replay = Replay(MemoryStore(), policies, tasks=TaskReader(ModelHolder()))
    for number in range(count):
        line = orjson.dumps(exchange(0, account_id="acc_0", body=body(number)))
        yield replay.facts_of(number, msgspec.json.decode(line, type=TrafficLine))[0]


def test_live_and_replay_read_the_same(files: Path) -> None:
    reader = RequestReader(engine(files / "policy.yaml"), GuardConfig(), "proxy")
    for number, again in enumerate(replayed(files, 12)):
        facts = asyncio.run(live(reader, json.dumps(body(number)).encode()))
        assert facts.task is not None
        assert facts.task == again.task


def test_what_no_policy_names_is_not_scored(files: Path) -> None:
    reader = RequestReader(engine(files / "unscored.yaml"), GuardConfig(), "proxy")
    facts = asyncio.run(live(reader, json.dumps(body(1)).encode()))
    assert facts.task is None


def test_a_log_line_brings_back_scores_and_their_reasons(files: Path) -> None:
    facts = next(one for n, one in enumerate(replayed(files, 2)) if n == 1)
    policy = PolicyHolder(files / "policy.yaml").current
    subject = Subject("acc_0", version=1, pseudonym="p" * 24)
    assessment = assess(policy, facts, subject)
    reply = ChargeReply(1, (StepResult(True, 1),), applied=True)
    decision = judge(policy, facts, Identity(subject, None), assessment, reply)
    exchanged = Exchange(facts, decision, Outcome.COMPLETE, Usage(), 200, 2)
    line = orjson.loads(LineEncoder(KeyedHash(REPLAY_SECRET)).encode(exchanged, policy))
    assert facts_of(line) == facts
    assert line["findings"][0][0] == "grading"
    model = ModelHolder().current
    text = explain(line, policy, "acc_0", model)["text"]
    assert "Task: grading" in text
    assert "asks for a grade or a score (+" in text
    assert RUBRIC[:20].encode() not in orjson.dumps(line)
    other = explain(line, policy, "acc_0", replace(model, version="other"))["text"]
    assert f"by model {model.version}" in other


async def run(
    files: Path,
    out: str,
    *,
    stop_after: int = 0,
    resume: bool = False,
    policy: str = "policy.yaml",
) -> None:
    class Stopping(FileFeed):
        def lines(self) -> Iterator[bytes]:
            for number, line in enumerate(super().lines(), 1):
                stop.is_asked = stop.is_asked or number == stop_after
                yield line

    stop = Stop()
    (files / out).mkdir(exist_ok=True)
    accounts = [b'{"account_id": "acc_0"}\n', b'{"account_id": "acc_1"}\n']
    plan = ReplayPlan(
        feed=Stopping(files / "t.jsonl"),
        accounts=("accounts", lambda: accounts),
        events=None,
        out=files / out,
        store=MemoryStore(),
        policies=PolicyHolder(files / policy),
        tasks=TaskReader(ModelHolder()),
    )
    await ReplayRun(plan, stop=stop).run(resume=resume)


def test_a_resumed_replay_remembers_what_callers_asked(files: Path) -> None:
    asyncio.run(run(files, "whole"))
    with pytest.raises(InterruptedReplayError):
        asyncio.run(run(files, "parts", stop_after=1_500))
    asyncio.run(run(files, "parts", resume=True))
    for name in ("decisions.jsonl.gz", "summary.json"):
        found = [(files / out / name).read_bytes() for out in ("whole", "parts")]
        if name.endswith("gz"):
            assert found[0] == found[1]
        else:
            assert json.loads(found[0])["by_rule"] == json.loads(found[1])["by_rule"]


def test_a_resumed_replay_remembers_what_accounts_did(files: Path) -> None:
    asyncio.run(run(files, "whole", policy="behaved.yaml"))
    with pytest.raises(InterruptedReplayError):
        asyncio.run(run(files, "parts", stop_after=1_500, policy="behaved.yaml"))
    asyncio.run(run(files, "parts", resume=True, policy="behaved.yaml"))
    whole, parts = [(files / out / "decisions.jsonl.gz").read_bytes() for out in ("whole", "parts")]
    assert whole == parts
    by_rule = json.loads((files / "parts" / "summary.json").read_text())["by_rule"]
    assert by_rule["busy"] > 0


async def test_an_accounts_score_is_in_the_log_and_can_be_explained(files: Path) -> None:
    running = engine(files / "behaved.yaml", 1_800_000_019_000_000)
    store = running.store
    assert isinstance(store, MemoryStore)
    await store.put(Subject("acc_0"), {"c": "key"})
    policy = PolicyHolder(files / "behaved.yaml").current
    for number in range(20):
        facts = RequestFacts(
            decision_id=f"{number:026}",
            received_us=1_800_000_000_000_000 + number * 1_000_000,
            surface="proxy",
            method="POST",
            path="/v1/chat/completions",
            route="openai.chat_completions",
            dialect="openai",
            is_inference=True,
            credential="c",
            model="m-1",
        )
        decision = await running.decide(facts)
        await running.finish(
            facts, decision, outcome=Outcome.COMPLETE, usage=Usage(5, 0, 900), upstream_status=200
        )
    assert facts.window is not None
    models = ModelHolder()
    assert facts.collecting == score_account(models.accounts, facts.window, 1_800_000_019)
    ended = Exchange(facts, decision, Outcome.COMPLETE, Usage(5, 0, 900), 200, facts.received_us)
    line = orjson.loads(LineEncoder(KeyedHash(REPLAY_SECRET)).encode(ended, policy))
    assert facts_of(line) == facts
    text = explain(line, policy, "acc_0", models.current, models.accounts)["text"]
    assert f"Account: collecting {facts.collecting:.2f}, because it" in text
