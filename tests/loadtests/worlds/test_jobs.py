"""Programs that call by the clock: at their minute, in turn, in a loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.errors import PolicyError
from gateway.loadtests.worlds.days import DAY_S
from gateway.loadtests.worlds.jobs import JobCalls
from gateway.loadtests.worlds.load import load_plan
from gateway.loadtests.worlds.roster import Customers

from .builders import ordinary, write_scenario


def calls(folder: Path, day: int = 0, **job: Any) -> dict[int, list[float]]:
    """Account → seconds of the day at which its job calls."""
    path = write_scenario(folder, classes=[ordinary(jobs=[job], facts={"joins": 0})], accounts=20)
    plan = load_plan(path)
    block = Customers(plan).blocks[0]
    start_s = plan.start_s + day * DAY_S
    times, who = JobCalls(block, plan).between(start_s, start_s + DAY_S, np.random.default_rng(day))
    found: dict[int, list[float]] = {}
    for account, at in sorted(zip(who.tolist(), times.tolist(), strict=True)):
        found.setdefault(account, []).append(at - start_s)
    return found


def test_hourly_jobs_keep_their_minute_and_each_has_its_own(tmp_path: Path) -> None:
    found = calls(tmp_path, every_min=60, late_min=0)
    minutes = {account: {round(at % 3600) for at in own} for account, own in found.items()}
    assert all(len(own) == 24 for own in found.values())
    assert all(len(one) == 1 for one in minutes.values())
    assert len({one.pop() for one in minutes.values()}) > 15


def test_days_meet_without_a_gap(tmp_path: Path) -> None:
    """What is late beyond midnight comes the next day, and nothing comes twice."""
    both = [calls(tmp_path, day, every_min=60, late_min=20, queue_min=30) for day in range(3)]
    counts = [sum(len(one.get(account, [])) for one in both) for account in both[1]]
    assert all(70 <= count <= 74 for count in counts)


def test_a_worker_takes_its_customers_in_one_order(tmp_path: Path) -> None:
    found = calls(tmp_path, every_min=60, at="turn", step_s=30, late_min=0)
    firsts = [own[0] for _, own in sorted(found.items())]
    assert firsts == sorted(firsts)
    assert max(at % 3600 for own in found.values() for at in own) < 1800


def test_jobs_that_a_queue_delays_are_late_together(tmp_path: Path) -> None:
    found = calls(tmp_path, every_min=60, at="top", queue_min=10, late_min=0)
    by_hour = np.array([own[:20] for own in found.values()]) % 3600
    assert by_hour.std(axis=0).max() < 1e-3
    assert by_hour.std(axis=1).min() > 60


def test_loops_wander_off_the_clock(tmp_path: Path) -> None:
    found = calls(tmp_path, every_min=30, loops=True, late_min=4)
    gaps = np.diff(found[0])
    assert gaps.min() >= 1800
    assert gaps.max() <= 1800 + 240
    assert abs(found[0][-1] % 1800 - found[0][0] % 1800) > 60


def test_calls_of_a_run_are_in_order(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, classes=[ordinary(jobs=[{"every_min": 60, "calls": [3, 1]}])])
    with pytest.raises(PolicyError, match="calls"):
        load_plan(path)
