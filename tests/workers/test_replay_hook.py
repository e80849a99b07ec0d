"""What a linker in a replay learns, when it learns it, and when what it says holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.commands.replay import FixedPolicy
from gateway.model import SECOND_US, RequestFacts
from gateway.ports import Directory
from gateway.stores.memory import MemoryStore
from gateway.workers.feeds import FileFeed
from gateway.workers.replay_files import InterruptedReplayError, ReplayPlan, ReplayRun, Stop
from gateway.workers.replay_hook import ReplayedRequest
from gateway.workers.traffic import LoggedResponse

from .test_replay import BASE_TS, decisions, exchange, write

POLICY = """
version: 1
name: linked
mode: enforce
unknown_credentials: refuse
on_store_error: deny
rules:
  - name: pool
    why: accounts that were linked
    when: {cluster_size: {gte: 2}}
    on_unknown: no_match
    then: {deny: {}}
"""
BASE_US = round(BASE_TS * SECOND_US)


class NotingHook:
    """Notes everything; two accounts with an answer of one text are a cluster."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, float]] = []
        self.seen: dict[str, list[str]] = {}

    def on_request(self, asked: ReplayedRequest) -> None:
        self.calls.append(("request", asked.number, (asked.now_us - BASE_US) / SECOND_US))

    def on_response(
        self, number: int, now_us: int, facts: RequestFacts, response: LoggedResponse
    ) -> None:
        self.calls.append(("response", number, (now_us - BASE_US) / SECOND_US))
        text = bytes(response.body).decode()
        accounts = self.seen.setdefault(text, [])
        if text != "null":
            accounts.append(f"acc_{(number - 1) % 2}")

    async def on_tick(self, now_us: int, directory: Directory) -> None:
        self.calls.append(("tick", 0, (now_us - BASE_US) / SECOND_US))
        for text, accounts in self.seen.items():
            if text != "null" and len(set(accounts)) > 1:
                for account_id in sorted(set(accounts)):
                    subject = await directory.get(account_id)
                    assert subject is not None
                    await directory.put(replace(subject, cluster_id="c1", cluster_size=2), None)

    def clusters(self) -> Iterable[Mapping[str, Any]]:
        return [{"cluster_id": "c1", "accounts": sorted(self.seen)}]

    def snapshot(self) -> bytes:
        return msgspec.msgpack.encode((self.calls, self.seen))

    def restore(self, state: bytes) -> None:
        self.calls, self.seen = msgspec.msgpack.decode(
            state, type=tuple[list[tuple[str, int, float]], dict[str, list[str]]]
        )


def run(
    folder: Path,
    lines: list[dict[str, Any]],
    hook: NotingHook | None,
    *,
    out: str = "out",
    stop: Stop | None = None,
    resume: bool = False,
) -> None:
    (folder / "policy.yaml").write_text(POLICY)
    (folder / out).mkdir(exist_ok=True)
    accounts = [json.dumps({"account_id": f"acc_{i}"}).encode() for i in (0, 1)]
    plan = ReplayPlan(
        feed=FileFeed(write(folder / "t.jsonl", [*lines])),
        accounts=("accounts", lambda: accounts),
        events=None,
        out=folder / out,
        store=MemoryStore(),
        policies=FixedPolicy(folder / "policy.yaml"),
        hook=hook,
        lag_us=2 * SECOND_US,
    )
    asyncio.run(ReplayRun(plan, stop=stop).run(resume=resume))


def answered(number: int, at_s: float, *, after_s: float, body: object = None) -> dict[str, Any]:
    response = exchange(0)["response"] | {"latency_ms": after_s * 1000, "body": body}
    return exchange(number, ts=BASE_TS + at_s, response=response)


def test_evidence_arrives_at_its_time_and_is_published_on_the_tick(tmp_path: Path) -> None:
    hook = NotingHook()
    lines = [
        answered(0, 0.5, after_s=5, body="same"),
        answered(1, 1.0, after_s=0.5, body="same"),
        answered(2, 5.9, after_s=1),  # both answers are there at 5.5, told at 6
        answered(3, 6.1, after_s=1, body="never: it is refused"),
    ]
    run(tmp_path, lines, hook)
    assert hook.calls == [
        ("request", 1, 0.5),
        ("request", 2, 1.0),
        ("response", 2, 1.5),
        ("tick", 0, 2.0),
        ("response", 1, 5.5),
        ("request", 3, 5.9),
        ("tick", 0, 6.0),
        ("request", 4, 6.1),
        ("response", 3, 6.9),
        ("tick", 0, 8.0),
    ]
    assert [line["reason"] for line in decisions(tmp_path)] == ["ok", "ok", "ok", "pool"]
    assert decisions(tmp_path)[3]["cluster_id"] == "c1"
    clusters = (tmp_path / "out" / "clusters.jsonl").read_text()
    assert json.loads(clusters)["cluster_id"] == "c1"


def test_silence_costs_no_ticks(tmp_path: Path) -> None:
    hook = NotingHook()
    run(tmp_path, [answered(n, n * 86_400, after_s=1) for n in range(3)], hook)
    assert [kind for kind, _, _ in hook.calls].count("tick") == 3


def test_what_a_hook_knows_survives_an_interruption(tmp_path: Path) -> None:
    lines = [
        answered(n, n * 0.01, after_s=3 + n % 5, body="same" if n in (300, 901) else n)
        for n in range(2_500)
    ]
    whole, parts = NotingHook(), NotingHook()
    run(tmp_path, lines, whole, out="whole")
    with pytest.raises(InterruptedReplayError):
        run(tmp_path, lines, NotingHook(), out="parts", stop=Stop(is_asked=True))
    run(tmp_path, lines, parts, out="parts", resume=True)
    assert parts.calls == whole.calls
    assert decisions(tmp_path, "parts") == decisions(tmp_path, "whole")
    assert decisions(tmp_path, "whole")[-1]["reason"] == "pool"
