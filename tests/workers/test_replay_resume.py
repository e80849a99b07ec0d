"""A replay that was interrupted leaves the bytes of one that was not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.commands.replay import FixedPolicy
from gateway.errors import UsageError
from gateway.stores.memory import MemoryStore
from gateway.workers.feeds import FileFeed
from gateway.workers.replay_files import (
    InterruptedReplayError,
    ReplayPlan,
    ReplayResult,
    ReplayRun,
    Stop,
)

from .test_replay import BASE_TS, POLICY, exchange, replay, write

LINES = 6_000


class StoppingFeed(FileFeed):
    """Asks for a stop on the way."""

    def __init__(self, path: Path, stop: Stop, after: int) -> None:
        super().__init__(path)
        self._stop = stop
        self._after = after

    def lines(self) -> Iterator[bytes]:
        for number, line in enumerate(super().lines(), 1):
            self._stop.is_asked = self._stop.is_asked or number == self._after
            yield line


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Answers that are under way for a second, so that some always are; a ban in the middle."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    accounts = [{"account_id": f"acc_{i}", "tier": "start", "key_ids": ["key_1"]} for i in (0, 1)]
    (tmp_path / "accounts.jsonl").write_text("".join(json.dumps(a) + "\n" for a in accounts))
    events = [
        {"ts": BASE_TS + 400, "account_id": "acc_1", "event": "verified", "level": "phone"},
        {"ts": BASE_TS + 900, "account_id": "acc_0", "event": "banned"},
        {"ts": BASE_TS + 1100, "account_id": "acc_0", "event": "changed", "status": "active"},
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    slow = exchange(0)["response"] | {"latency_ms": 1100, "output_tokens": 700}
    lines: list[dict[str, Any] | str] = [
        exchange(n, ts=BASE_TS + n * 0.25 - 0.9 * (n % 7 == 3), response=slow, key_id=f"k{n % 3}")
        for n in range(LINES)
    ]
    lines[2_000] = "{broken"
    write(tmp_path / "t.jsonl.gz", lines)
    return tmp_path


def lines_in(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


async def run(
    files: Path, out: str, *, stop_after: int = 0, reorder_us: int = 0, resume: bool = False
) -> ReplayResult:
    (files / out).mkdir(exist_ok=True)
    stop = Stop()
    plan = ReplayPlan(
        feed=StoppingFeed(files / "t.jsonl.gz", stop, stop_after),
        accounts=("accounts", lambda: lines_in(files / "accounts.jsonl")),
        events=("events", lambda: lines_in(files / "events.jsonl")),
        out=files / out,
        store=MemoryStore(),
        policies=FixedPolicy(files / "policy.yaml"),
        reorder_us=reorder_us,
    )
    return await ReplayRun(plan, stop=stop).run(resume=resume)


def without_time(result: ReplayResult) -> dict[str, Any]:
    left_out = {"wall_s", "exchanges_per_s", "peak_memory_bytes"}
    return {name: value for name, value in result.summary.items() if name not in left_out}


@pytest.mark.parametrize("reorder_us", [0, 3_000_000], ids=["in order", "in a window"])
@pytest.mark.parametrize("stops", [[1], [1_500, 4_000], [5_900]], ids=str)
def test_interrupted_and_resumed_it_leaves_the_same_bytes(
    files: Path, stops: list[int], reorder_us: int
) -> None:
    whole = asyncio.run(run(files, "whole", reorder_us=reorder_us))
    for resume, stop_after in enumerate(stops):
        if stop_after > LINES - 1_024:
            break  # it ends before it looks up
        with pytest.raises(InterruptedReplayError, match="--resume goes on"):
            asyncio.run(
                run(
                    files,
                    "parts",
                    stop_after=stop_after,
                    reorder_us=reorder_us,
                    resume=resume > 0,
                )
            )
    parts = asyncio.run(
        run(files, "parts", reorder_us=reorder_us, resume=stops[0] <= LINES - 1_024)
    )
    assert without_time(parts) == without_time(whole)
    for name in ("decisions.jsonl.gz", "clusters.jsonl"):
        assert (files / "parts" / name).read_bytes() == (files / "whole" / name).read_bytes()
    assert whole.summary["refused"] > 500
    assert whole.summary["by_rule"]["account_banned"] > 100
    assert not (files / "parts" / "checkpoint").exists()


def command(files: Path, out: str, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "hydragate.cli", "replay", "--traffic", str(files / "t.jsonl.gz")),
        *("--accounts", str(files / "accounts.jsonl"), "--events", str(files / "events.jsonl")),
        *("--policy", str(files / "policy.yaml"), "--out", str(files / out), *more),
    ]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_killed_process_can_be_resumed(files: Path, how: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": ""}
    lines = [exchange(n, ts=BASE_TS + n * 0.25) for n in range(40_000)]
    write(files / "t.jsonl.gz", lines)
    subprocess.run(command(files, "whole"), check=True, env=environment, capture_output=True)
    (files / "parts").mkdir()
    with subprocess.Popen(
        command(files, "parts", "--checkpoint-s", "0"),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        checkpoint = files / "parts" / "checkpoint"
        deadline = time.monotonic() + 30
        while not checkpoint.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(how)
        _, said = process.communicate(timeout=30)
    assert checkpoint.exists()
    if how is not signal.SIGKILL:
        assert b"--resume goes on" in said
        assert process.returncode == 1
    subprocess.run(
        command(files, "parts", "--resume"), check=True, env=environment, capture_output=True
    )
    whole, parts = (files / out / "decisions.jsonl.gz" for out in ("whole", "parts"))
    assert parts.read_bytes() == whole.read_bytes()


def test_there_must_be_something_to_resume(files: Path) -> None:
    result = replay(files, files / "t.jsonl.gz", "out", "--resume")
    assert result.exit_code == 2
    assert "holds no checkpoint" in result.stderr


def test_a_checkpoint_of_another_run_is_not_taken(files: Path) -> None:
    with pytest.raises(InterruptedReplayError):
        asyncio.run(run(files, "out", stop_after=1))
    (files / "policy.yaml").write_text(POLICY.replace("60/min", "61/min"))
    with pytest.raises(UsageError, match="another policy"):
        asyncio.run(run(files, "out", resume=True))


def test_a_damaged_checkpoint_is_refused(files: Path) -> None:
    (files / "out").mkdir()
    (files / "out" / "checkpoint").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="run without --resume"):
        asyncio.run(run(files, "out", resume=True))


def test_a_real_store_cannot_be_resumed(files: Path) -> None:
    more = ("--resume", "--store", "redis://127.0.0.1:1")
    assert replay(files, files / "t.jsonl.gz", "out", *more).exit_code == 2
