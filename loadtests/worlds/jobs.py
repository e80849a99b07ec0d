"""Calls of programs that run by the clock: hourly jobs, agents in a loop, a product's worker.

A run follows from the seed, its job and its period, so that it is the same whichever day is asked
for; loops begin anew at midnight UTC, as if deployed then.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .days import DAY_S
from .load import Plan
from .roster import ClassBlock
from .schema import RawJob
from .seeds import numpy_rng

Times = NDArray[np.float64]
Callers = NDArray[np.int64]
BETWEEN_CALLS_S = (1.0, 20.0)
MOST_QUEUED = 5.0  # times the mean: when a queue is that long, somebody clears it
STEP_SHAPE = 4.0  # of the Gamma of a worker's steps: a third more or less, mostly


class JobCalls:
    """The scheduled calls of one class, in which every account runs one of its jobs."""

    def __init__(self, block: ClassBlock, plan: Plan) -> None:
        jobs = block.raw.jobs
        weights = np.array([job.weight for job in jobs])
        rng = numpy_rng(plan.seed, block.raw.name, "jobs")
        of_account = rng.choice(len(jobs), size=block.count, p=weights / weights.sum())
        born = np.array([block.created_s(block.first + at) for at in range(block.count)])
        self._runs = [
            _Runs(job, np.flatnonzero(of_account == at), plan.seed, f"{block.raw.name} {at}")
            for at, job in enumerate(jobs)
        ]
        self._first, self._born = block.first, born

    def between(
        self, start_s: float, end_s: float, rng: np.random.Generator
    ) -> tuple[Times, Callers]:
        """Nobody calls before signing up."""
        found = [runs.between(start_s, end_s, rng) for runs in self._runs]
        times = np.concatenate([times for times, _ in found])
        callers = np.concatenate([callers for _, callers in found])
        kept = (times >= self._born[callers]) & (times >= start_s) & (times < end_s)
        return times[kept], callers[kept] + self._first


class _Runs:
    """One job and the accounts (by place in their class) that run it."""

    def __init__(self, job: RawJob, accounts: Callers, seed: int, name: str) -> None:
        self._job, self._accounts, self._seed, self._name = job, accounts, seed, name
        self._period_s = job.every_min * 60.0
        self._own_s = numpy_rng(seed, name, "minutes").random(len(accounts)) * self._period_s

    def between(
        self, start_s: float, end_s: float, rng: np.random.Generator
    ) -> tuple[Times, Callers]:
        if self._job.loops:
            times, who = self._loops(start_s, end_s, rng)
        else:
            times, who = self._periods(start_s, end_s)
        low, high = self._job.calls
        extra = rng.integers(low - 1, high, size=len(times))
        again = np.repeat(np.arange(len(times)), extra)
        later = times[again] + rng.uniform(*BETWEEN_CALLS_S, size=len(again))
        return np.concatenate((times, later)), np.concatenate((who, who[again]))

    def _periods(self, start_s: float, end_s: float) -> tuple[Times, Callers]:
        """All runs of the periods of which some run may come inside."""
        job = self._job
        latest_s = 60 * (job.late_min + MOST_QUEUED * job.queue_min) + self._period_s
        if job.at == "turn":
            latest_s += 2 * job.step_s * len(self._accounts)
        first = math.floor((start_s - latest_s) / self._period_s)
        runs = [
            number * self._period_s + self._after_s(number)
            for number in range(first, math.ceil(end_s / self._period_s))
        ]
        return np.concatenate(runs), np.tile(self._accounts, len(runs))

    def _after_s(self, number: int) -> Times:
        """How long after the beginning of period `number` each account's run comes."""
        job, count = self._job, len(self._accounts)
        rng = numpy_rng(self._seed, self._name, "period", number)
        queued_s = 60 * job.queue_min * min(MOST_QUEUED, rng.exponential())
        late_s = 60 * job.late_min * rng.random(count)
        if job.at == "own":
            return np.asarray(self._own_s + queued_s + late_s)
        if job.at == "top":
            return np.asarray(queued_s + late_s)
        steps = rng.gamma(STEP_SHAPE, job.step_s / STEP_SHAPE, count)
        return np.asarray(queued_s + np.cumsum(steps) + late_s)

    def _loops(
        self, start_s: float, end_s: float, rng: np.random.Generator
    ) -> tuple[Times, Callers]:
        most = math.ceil(DAY_S / self._period_s) + 1
        shape = (len(self._accounts), most)
        gaps = self._period_s + 60 * self._job.late_min * rng.random(shape)
        gaps[:, 0] *= rng.random(len(self._accounts))
        times = start_s + np.cumsum(gaps, axis=1).ravel()
        who = np.repeat(self._accounts, most)
        inside = times < end_s
        return times[inside], who[inside]
