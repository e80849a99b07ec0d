"""A scenario comes through a pipe in order, bounded, and never as half of one."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.commands.replay import FixedPolicy
from gateway.stores.memory import MemoryStore
from gateway.workers.feeds import FailedFeedError
from gateway.workers.replay_files import InterruptedReplayError, ReplayPlan, ReplayRun, Stop
from gateway.workers.traffic import LoggedRequest
from gateway.workers.world_feed import WorldFeed

from .test_replay import BASE_TS, POLICY, decisions, exchange, replay, write


@dataclass(frozen=True, slots=True)
class SmallWorld:
    """Two accounts; one becomes another on the way; `fails_after` lines it fails, or dies."""

    lines: int
    fails_after: int | None = None
    dies: bool = False

    def accounts(self) -> Iterator[dict[str, Any]]:
        for i in (0, 1):
            yield {"account_id": f"acc_{i}", "tier": "start", "key_ids": ["key_1"]}

    def events(self) -> Iterator[dict[str, Any]]:
        yield {"ts": BASE_TS + 20, "account_id": "acc_0", "event": "banned"}

    def exchanges(self) -> Iterator[tuple[LoggedRequest, str | None]]:
        for number in range(self.lines):
            if number == self.fails_after:
                if self.dies:
                    os._exit(9)
                raise ValueError("the world ends here")
            line = json.dumps(exchange(number), indent=1).encode()  # bodies over several lines
            yield (
                msgspec.json.decode(line, type=LoggedRequest),
                "one" if number % 10 == 0 else None,
            )

    def labels(self) -> Iterator[dict[str, Any]]:
        yield {"account_id": "acc_0", "campaign": "one", "class": "mixed"}


def plan(folder: Path, feed: WorldFeed) -> ReplayPlan:
    (folder / "policy.yaml").write_text(POLICY)
    return ReplayPlan(
        feed=feed,
        accounts=("accounts", feed.accounts),
        events=("events", feed.events),
        out=folder,
        store=MemoryStore(),
        policies=FixedPolicy(folder / "policy.yaml"),
    )


def feed_of(folder: Path, *arguments: Any) -> WorldFeed:
    make = partial(SmallWorld, *arguments)
    return WorldFeed(make, name="small", identity={"seed": 1}, labels_dir=folder)


def test_a_scenario_decides_as_its_files_do_and_leaves_its_labels(tmp_path: Path) -> None:
    piped, filed = tmp_path / "piped", tmp_path / "filed"
    piped.mkdir()
    filed.mkdir()
    with feed_of(piped, 500) as feed:
        result = asyncio.run(ReplayRun(plan(piped, feed)).run())
    assert result.summary["exchanges"] == 500
    assert result.problems == []
    world = SmallWorld(500)
    (filed / "policy.yaml").write_text(POLICY)
    for name, records in (("accounts", world.accounts()), ("events", world.events())):
        (filed / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    traffic = write(filed / "t.jsonl", [exchange(n) for n in range(500)])
    replay(filed, traffic, "out", "--events", str(filed / "events.jsonl"))
    assert decisions(tmp_path, "piped") == decisions(filed)
    assert result.summary["by_rule"]["account_banned"] > 100
    assert json.loads((piped / "labels.jsonl").read_text())["campaign"] == "one"
    with gzip.open(piped / "line-labels.jsonl.gz") as lines:
        labels = [json.loads(line) for line in lines]
    assert labels == [{"line": n + 1, "campaign": "one"} for n in range(0, 500, 10)]


@pytest.mark.parametrize(
    ("dies", "message"),
    [(False, "ValueError: the world ends here"), (True, "makes the traffic died")],
    ids=["fails", "dies"],
)
def test_a_world_that_breaks_off_is_an_error_never_a_short_replay(
    tmp_path: Path, dies: bool, message: str
) -> None:
    with (
        feed_of(tmp_path, 5_000, 3_000, dies) as feed,
        pytest.raises(FailedFeedError, match=message),
    ):
        asyncio.run(ReplayRun(plan(tmp_path, feed)).run())
    assert not (tmp_path / "summary.json").exists()


def test_a_stopped_scenario_can_be_resumed(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    with feed_of(whole, 4_000) as feed:
        asyncio.run(ReplayRun(plan(whole, feed)).run())
    with feed_of(parts, 4_000) as feed, pytest.raises(InterruptedReplayError):
        asyncio.run(ReplayRun(plan(parts, feed), stop=Stop(is_asked=True)).run())
    with feed_of(parts, 4_000) as feed:
        asyncio.run(ReplayRun(plan(parts, feed)).run(resume=True))
    name = "decisions.jsonl.gz"
    assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_the_maker_waits_for_whoever_reads(tmp_path: Path) -> None:
    """Nobody reads: the pipe is full and the maker stands still, however much it has."""
    with feed_of(tmp_path, 10_000_000) as feed:
        first = next(iter(feed.lines()))
        assert json.loads(first)["account_id"] == "acc_0"
