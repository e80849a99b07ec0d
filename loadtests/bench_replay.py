"""What a replay costs: exchanges a second on one core, CPU by part, memory over time.

Run: python -m hydragate.loadtests.bench_replay [--exchanges N] [--accounts N] [--link]
[--json FILE] [--profile FILE]. With --link the linker listens in, as `hydragate replay` has it.
The log is made first (not measured): bodies of about 1.5 KB, none twice, 100 exchanges a second of
event time, answers under way for one to nine seconds. The parts are found by leaving later ones
out, so that each is measured where it runs, with what runs before it.
"""

from __future__ import annotations

import asyncio
import cProfile
import io
import json
import platform
import pstats
import random
import resource
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import click

from ..commands.replay import FixedPolicy
from ..core.keyed import KeyedHash
from ..stores.memory import MemoryStore
from ..workers.decision_lines import DecisionLines, DecisionWriter
from ..workers.feeds import FileFeed, lines_of, open_log
from ..workers.linking_hook import LinkingHook
from ..workers.replay import REPLAY_SECRET, Replay
from ..workers.replay_files import ReplayPlan, ReplayRun, rare_collections
from ..workers.traffic import LineReader, ReadReport

GOAL_PER_S, LINKED_GOAL_PER_S = 20_000, 10_000
EVENT_RATE_PER_S = 100.0
START_S = 1_776_816_000.0
POLICY = Path(__file__).resolve().parents[1] / "policies" / "enforce"
SAMPLES = 20
HEADERS = [
    ["host", "api.example.org"],
    ["user-agent", "OpenAI/Python 2.0.0"],
    ["content-type", "application/json"],
    ["accept", "application/json"],
    ["x-stainless-lang", "python"],
    ["x-stainless-package-version", "2.0.0"],
    ["x-stainless-os", "Linux"],
    ["x-stainless-arch", "x64"],
    ["x-stainless-runtime", "CPython"],
]


def write_accounts(path: Path, count: int) -> None:
    """A quarter each of three tiers and of none; a third never confirmed anything."""
    tiers = ("start", "build", "scale", None)
    with path.open("w") as file:
        for number in range(count):
            record = {
                "account_id": f"acc_{number:06d}",
                "created_at": START_S - 86_400 * (number % 400),
                "tier": tiers[number % 4],
                "verification": ["email", "payment"] if number % 3 else [],
                "key_ids": [f"key_{number}"],
                "org_id": f"org_{number // 5}" if number % 7 == 0 else None,
            }
            file.write(json.dumps(record) + "\n")


def write_traffic(path: Path, exchanges: int, accounts: int) -> None:
    rng = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(3_000)]
    ts = START_S
    with path.open("w") as file:
        for _ in range(exchanges):
            ts += rng.expovariate(EVENT_RATE_PER_S)
            is_heavy = rng.random() < 0.5
            number = int(rng.paretovariate(0.7)) if is_heavy else rng.randrange(accounts)
            line = _exchange(rng, words, round(ts, 3), number % accounts)
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _exchange(rng: random.Random, words: list[str], ts: float, number: int) -> dict[str, Any]:
    turns = [" ".join(rng.choices(words, k=count)) for count in (60, 80, 70)]
    roles = ("user", "assistant", "user")
    return {
        "ts": ts,
        "account_id": f"acc_{number:06d}",
        "key_id": f"key_{number}",
        "client_ip": f"203.0.113.{number % 250}",
        "method": "POST",
        "path": "/v1/chat/completions" if number % 2 else "/v1/messages",
        "headers": HEADERS,
        "ja4": None,
        "body": {
            "model": f"model-{number % 5}",
            "max_tokens": 1024,
            "temperature": 0.7,
            "stream": True,
            "messages": [
                {"role": role, "content": text} for role, text in zip(roles, turns, strict=True)
            ],
        },
        "response": {
            "status": 200,
            "latency_ms": rng.randint(1_000, 9_000),
            "input_tokens": 300,
            "output_tokens": rng.randint(50, 800),
            "stream": True,
            "body": None,
        },
    }


def _resident_bytes() -> int:
    """Now, where the system tells; else the peak so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize()


@dataclass(slots=True)
class Whole:
    """One run as `hydragate replay` does it."""

    exchanges: int
    wall_s: float
    cpu_s: float
    memory: list[tuple[int, int]] = field(default_factory=list)  # (line, resident bytes)

    def as_json(self) -> dict[str, Any]:
        half = [size for _, size in self.memory[len(self.memory) // 2 :]]
        return {
            "exchanges_per_s": round(self.exchanges / self.wall_s),
            "exchanges_per_cpu_s": round(self.exchanges / self.cpu_s),
            "cpu_us_per_exchange": round(1e6 * self.cpu_s / self.exchanges, 2),
            "lines_between_samples": self.memory[0][0] if self.memory else None,
            "resident_mib": " ".join(f"{size / 2**20:.1f}" for _, size in self.memory),
            "growth_in_second_half_mib": round((half[-1] - half[0]) / 2**20, 2) if half else None,
        }


def run_whole(folder: Path, exchanges: int, policy: Path, hook: LinkingHook | None = None) -> Whole:
    memory: list[tuple[int, int]] = []
    every = max(2_048, exchanges // SAMPLES // 2_048 * 2_048)

    def sample(line: int) -> None:
        if line % every == 0:
            memory.append((line, _resident_bytes()))

    (folder / "out").mkdir(exist_ok=True)
    plan = ReplayPlan(
        feed=FileFeed(folder / "traffic.jsonl"),
        accounts=("accounts", lambda: _lines(folder / "accounts.jsonl")),
        events=None,
        out=folder / "out",
        store=MemoryStore(),
        policies=FixedPolicy(policy),
        hook=hook,
    )
    wall, cpu = perf_counter(), process_time()
    result = asyncio.run(ReplayRun(plan).run(on_progress=sample))
    assert result.summary["exchanges"] == exchanges
    return Whole(exchanges, perf_counter() - wall, process_time() - cpu, memory)


def _hook() -> LinkingHook:
    return LinkingHook(KeyedHash(REPLAY_SECRET))


def _lines(path: Path) -> Iterator[bytes]:
    with open_log(path) as file:
        yield from lines_of(file)


PARTS = ("read", "decode", "facts", "decide_and_settle", "write")


def run_parts(folder: Path, exchanges: int, policy: Path) -> dict[str, float]:
    """CPU microseconds an exchange by part: each is what a run that ends with it costs more."""
    costs, before = {}, 0.0
    for depth, name in enumerate(PARTS, 1):
        cost = 1e6 * asyncio.run(_run_to(folder, policy, depth)) / exchanges
        costs[name] = round(cost - before, 2)
        before = cost
    return costs | {"together": round(before, 2)}


async def _run_to(folder: Path, policy: Path, depth: int) -> float:
    """CPU seconds of the lines alone, accounts imported before."""
    plan = ReplayPlan(
        feed=FileFeed(folder / "traffic.jsonl"),
        accounts=("accounts", lambda: _lines(folder / "accounts.jsonl")),
        events=None,
        out=folder / "out",
        store=MemoryStore(),
        policies=FixedPolicy(policy),
    )
    run = ReplayRun(plan)
    with rare_collections():
        await run.add_accounts()
    writer = DecisionWriter(folder / "out" / "parts.gz")
    with rare_collections():
        started = process_time()
        await _take(plan, run.replay, writer, depth)
        writer.close(is_complete=True)
        return process_time() - started


async def _take(plan: ReplayPlan, replay: Replay, writer: DecisionWriter, depth: int) -> None:
    read, encode = LineReader("bench", ReadReport()).read, DecisionLines().encode
    for number, raw in enumerate(plan.feed.lines(), 1):
        if depth == 1:
            continue
        line = read(number, raw)
        if depth == 2 or line is None:
            continue
        if depth == 3:
            replay.facts_of(number, line)
            continue
        decision = await replay.decide(number, line)
        if depth == 5:
            writer.add(number, encode(line.ts, line.account_id, decision))


def profiled(work: Callable[[], object]) -> str:
    profile = cProfile.Profile()
    profile.runcall(work)
    told = io.StringIO()
    pstats.Stats(profile, stream=told).strip_dirs().sort_stats("tottime").print_stats(40)
    return told.getvalue()


@click.command()
@click.option("--exchanges", default=100_000, show_default=True)
@click.option("--accounts", default=5_000, show_default=True)
@click.option("--policy", default=POLICY, type=click.Path(exists=True, path_type=Path))
@click.option("--link", "links", is_flag=True, help="With the linker; the parts are left out.")
@click.option("--rounds", default=3, show_default=True, help="Whole runs; the best counts.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Results go here.")
@click.option("--profile", type=click.Path(path_type=Path), help="A profile of one run goes here.")
def main(
    exchanges: int,
    accounts: int,
    policy: Path,
    links: bool,
    rounds: int,
    json_file: Path | None,
    profile: Path | None,
) -> None:
    """Measure a replay with `policies/enforce`, every limit on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_accounts(folder / "accounts.jsonl", accounts)
        write_traffic(folder / "traffic.jsonl", exchanges, accounts)
        hooks = [_hook() if links else None for _ in range(rounds)]
        runs = [run_whole(folder, exchanges, policy, hook) for hook in hooks]
        best = min(runs, key=lambda one: one.cpu_s)
        found = {
            "machine": f"{platform.machine()} {platform.python_implementation()} "
            f"{platform.python_version()}",
            "exchanges": exchanges,
            "accounts": accounts,
            "policy": "policies/enforce" if policy == POLICY else str(policy),
            "goal_exchanges_per_s": LINKED_GOAL_PER_S if links else GOAL_PER_S,
            "whole": best.as_json(),
            "all_runs_cpu_us": [round(1e6 * one.cpu_s / exchanges, 2) for one in runs],
        }
        if links:
            found["pairs_per_exchange"] = [
                round(hook.pairs / exchanges, 2) for hook in hooks if hook is not None
            ]
        else:
            found["cpu_us_by_part"] = run_parts(folder, exchanges, policy)
        text = json.dumps(found, indent=2)
        print(text)
        if json_file is not None:
            json_file.write_text(text + "\n")
        if profile is not None:
            again = _hook() if links else None
            profile.write_text(profiled(lambda: run_whole(folder, exchanges, policy, again)))


if __name__ == "__main__":
    main()
