"""Runs the cases beside a policy through the real engine, on a store and a clock of their own."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..core.keyed import KeyedHash
from ..engine import Engine
from ..errors import PolicyError, Problem
from ..model import Decision, Outcome, Policy, RequestFacts, Status, Usage, with_changes
from ..policy.cases import Case, CaseStep, read_cases
from ..policy.load import SUFFIXES, load_policy
from ..policy.source import Report, parse_yaml
from ..stores.memory import MemoryStore

_SECRET = b"hydragate policy tests: no secrets here"
MAX_TEST_FILES = 200


@dataclass(slots=True)
class TestReport:
    """`problems` has one entry per failed step, at its line; `untested` names the rules and
    limits that no case ever made speak."""

    __test__ = False  # not a test class, whatever its name says

    cases: int = 0
    requests: int = 0
    problems: list[Problem] = field(default_factory=list)
    untested: list[str] = field(default_factory=list)

    @property
    def is_passed(self) -> bool:
        return not self.problems


def run_tests(path: Path) -> TestReport:
    """Run every case in `tests/` of the policy at `path`.

    Raises PolicyError when the policy or a test file cannot be used.
    """
    policy = load_policy(path)
    report = Report()
    cases = [case for file in test_files(path) for case in _cases_of(file, policy, report)]
    if report.has_errors:
        raise PolicyError(report.problems)
    return asyncio.run(run_cases(policy, cases))


def test_files(path: Path) -> list[Path]:
    """`tests/*.yaml` of a folder; for a policy of one file those that begin with its name."""
    is_folder = path.is_dir()
    folder = (path if is_folder else path.parent) / "tests"
    if not folder.is_dir():
        return []
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    return [file for file in files if is_folder or file.stem.startswith(path.stem)][:MAX_TEST_FILES]


test_files.__test__ = False  # type: ignore[attr-defined]


def _cases_of(file: Path, policy: Policy, report: Report) -> list[Case]:
    try:
        text = file.read_bytes()
    except OSError as error:
        report.add(Problem(str(file), 0, "", f"cannot be read: {error.strerror}"))
        return []
    source = parse_yaml(text, str(file), report)
    return [] if source is None else read_cases(source, policy, report)


async def run_cases(policy: Policy, cases: Iterable[Case]) -> TestReport:
    """Each case on an empty store; the findings of all of them tell what is untested."""
    report = TestReport()
    policy = _exact(policy)
    spoken: set[str] = set()
    for case in cases:
        runner = _CaseRunner(policy, case, report, spoken)
        await runner.run()
        report.cases += 1
    report.untested = sorted(policy.names - spoken)
    return report


def _exact(policy: Policy) -> Policy:
    """With the quotas of clusters as they are written, so that cases can count up to them."""
    limits = [
        limit
        if limit.cluster is None
        else replace(limit, cluster=replace(limit.cluster, jitter=0.0))
        for limit in policy.limits
    ]
    return replace(policy, limits=tuple(limits))


class _FixedPolicy:
    def __init__(self, policy: Policy) -> None:
        self.current = policy


class _CaseClock:
    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us


class _CountedIds:
    def __init__(self) -> None:
        self._count = 0

    def new_id(self, now_us: int) -> str:
        self._count += 1
        return f"t{self._count:025d}"


@dataclass(order=True, slots=True)
class _Open:
    due_us: int
    number: str
    facts: RequestFacts = field(compare=False)
    decision: Decision = field(compare=False)
    usage: Usage = field(compare=False)


class _CaseRunner:
    def __init__(self, policy: Policy, case: Case, report: TestReport, spoken: set[str]) -> None:
        self._case = case
        self._report = report
        self._spoken = spoken
        self._clock = _CaseClock()
        self._ids = _CountedIds()
        self._store = MemoryStore(self._clock.now_us)
        self._open: list[_Open] = []
        self._known: dict[str, dict[str, str]] = {}
        self._engine = Engine(
            store=self._store,
            policies=_FixedPolicy(policy),
            clock=self._clock,
            ids=self._ids,
            keyed=KeyedHash(_SECRET),
            event_time=True,
        )

    async def run(self) -> None:
        for step in self._case.steps:
            await self._know(step)
            for number in range(step.times):
                decision = await self._request(step, step.first_us + number * step.every_us)
                self._report.requests += 1
                self._spoken.update(finding.rule for finding in decision.findings)
                fault = _fault(step, decision)
                if fault is not None:
                    which = f" (request {number + 1} of {step.times})" if step.times > 1 else ""
                    self._fail(step, f"{self._case.name}: {fault}{which}")
                    break

    async def _know(self, step: CaseStep) -> None:
        """The account and its key are in the store, unless nobody knows them."""
        subject = step.subject
        if subject.status is Status.PROVISIONAL:
            return
        credentials = self._known.setdefault(subject.account_id, {})
        if step.facts.credential is not None:
            credentials[step.facts.credential] = step.key_id
        await self._store.put(subject, dict(credentials))

    async def _request(self, step: CaseStep, now_us: int) -> Decision:
        await self._finish_until(now_us)
        self._clock.us = max(self._clock.us, now_us)
        facts = with_changes(
            step.facts, decision_id=self._ids.new_id(now_us), received_us=self._clock.us
        )
        decision = await self._engine.decide(facts)
        due_us = self._clock.us + step.lasts_us
        heapq.heappush(self._open, _Open(due_us, facts.decision_id, facts, decision, step.usage))
        if step.lasts_us == 0:
            await self._finish_until(due_us)
        return decision

    async def _finish_until(self, now_us: int) -> None:
        while self._open and self._open[0].due_us <= now_us:
            due = heapq.heappop(self._open)
            self._clock.us = max(self._clock.us, due.due_us)
            is_served = due.decision.is_served
            await self._engine.finish(
                due.facts,
                due.decision,
                outcome=Outcome.COMPLETE if is_served else Outcome.REFUSED,
                usage=due.usage if is_served else None,
                upstream_status=200 if is_served else None,
                finished_us=due.due_us,
            )

    def _fail(self, step: CaseStep, message: str) -> None:
        place = step.place
        self._report.problems.append(Problem(place.file.name, place.line, place.text, message))


def _fault(step: CaseStep, decision: Decision) -> str | None:
    """What is not as expected; None when everything is."""
    expect = step.expect
    found = [finding.rule for finding in decision.findings]
    pairs = (
        ("verdict", expect.verdict, decision.verdict.text),
        ("would_be", expect.would_be, decision.would_be.text),
        ("reason", expect.reason, decision.reason),
        ("status", expect.status, decision.status),
        ("level", expect.level, None if decision.level is None else decision.level.name.lower()),
        ("findings", None if expect.findings is None else sorted(expect.findings), sorted(found)),
    )
    faults = [
        f"{name} is {_text(actual)}, not {_text(expected)}"
        for name, expected, actual in pairs
        if expected is not None and expected != actual
    ]
    if not faults:
        return None
    because = f"; findings: {', '.join(found)}" if found and expect.findings is None else ""
    return ", ".join(faults) + because


def _text(value: object) -> str:
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)
