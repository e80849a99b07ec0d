"""Decisions from the gateway's own log, decided again (CONTRACTS §8).

Under the policy that made a line the same decision follows exactly: facts, subject and what the
counters answered are all in it, and no store is asked. Under another policy its rules are applied
to the logged facts, and its limits are counted anew on event time.

What the log cannot give is taken over from it and counted as `carried`: a request that could not
be read (the body is not in the log), a caller who could not be identified while the store was
away, and rules that had to look at an account or organisation by name (the log has pseudonyms).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import msgspec

from ..adapters.routes import RouteTable, dialect_of
from ..core.assess import assess
from ..core.judge import judge, judge_unlisted, judge_without_store
from ..core.settle import settlement
from ..core.sighting import sighting_of
from ..engine import WINDOWED
from ..model import (
    Assessment,
    Charge,
    ChargeReply,
    Decision,
    Finding,
    Identity,
    Level,
    Mode,
    PlannedStep,
    Policy,
    Quota,
    RequestFacts,
    Settlement,
    Status,
    StepResult,
    Subject,
    Usage,
    Verdict,
    with_changes,
)
from ..observe.log_line import facts_of, subject_of
from ..stores.memory import MemoryStore

NAMELESS = frozenset({"account", "account_id", "org", "org_id"})  # pseudonyms in the log
UNKNOWN_CREDENTIAL = "unknown_credential"
Opinion = tuple[str, str, str, int, str | None]
"""Rule, verdict, mode, retry_after_us, level: a finding as the log has it."""


class LoggedDecision(msgspec.Struct):
    """What of a log line a second decision needs; raw parts are read by `log_line`."""

    id: str
    ts_us: int
    policy: str
    verdict: str
    would_be: str
    reason: str
    facts: dict[str, Any]
    decided_us: int
    finished_us: int
    findings: list[Opinion]
    charges: list[tuple[Any, ...]]
    results: list[tuple[bool, int]]
    usage: tuple[int | None, int, int | None]
    degraded: bool | list[str] = False
    shadow_all: bool = False
    applied: bool = False
    status: int = 200
    upstream_status: int | None = None
    subject: dict[str, Any] | None = None

    @property
    def account(self) -> str:
        """The account's pseudonym; `-` where nobody was identified."""
        return "-" if self.subject is None else str(self.subject.get("account", "-"))


@dataclass(frozen=True, slots=True)
class Redecided:
    """`how`: `exact`; `recounted`; `carried` over from the log; `blind`: recounted, while a rule
    that names an account or organisation saw a pseudonym, so that it did not match."""

    decision: Decision
    how: str


class LogReplay:
    """Decides logged lines again under one policy; lines of other revisions are counted anew."""

    def __init__(self, policy: Policy, *, recount_all: bool = False) -> None:
        self._policy = policy
        self._recount_all = recount_all
        self._is_windowed = not WINDOWED.isdisjoint(policy.needs)
        self._store = MemoryStore()
        self._routes = RouteTable(policy.routes)
        self._nameless = frozenset(
            i for i, spec in enumerate(policy.signals) if spec.name in NAMELESS
        )
        self._due: list[tuple[int, int, Settlement]] = []
        self._counted = 0

    async def decide(self, line: LoggedDecision) -> Redecided:
        """Raises msgspec.ValidationError, KeyError or ValueError for what is no line of ours."""
        facts, subject = facts_of({"facts": line.facts}), subject_of({"subject": line.subject})
        if line.policy == self._policy.revision and not self._recount_all:
            return self._again(line, facts, subject)
        return await self._anew(line, facts, subject)

    # ── under the same policy ────────────────────────────────────────────────────────────────

    def _again(
        self, line: LoggedDecision, facts: RequestFacts, subject: Subject | None
    ) -> Redecided:
        if facts.route is None:
            return Redecided(judge_unlisted(self._policy, facts), "exact")
        if subject is None:
            return Redecided(as_logged(line, facts, None), "carried")
        identity = Identity(subject, None)
        if subject.status is Status.PROVISIONAL and facts.credential is not None and line.degraded:
            return Redecided(as_logged(line, facts, subject), "carried")
        policy = self._admitting(line, subject, facts)
        assessment = assess(policy, facts, subject)
        if self._looks_at_names(assessment) or _is_other_plan(line, assessment):
            return Redecided(as_logged(line, facts, subject), "carried")
        assessment = _as_charged(line, assessment)
        if line.degraded:
            decision = judge_without_store(
                policy, facts, identity, assessment, shadow_all=line.shadow_all
            )
            return Redecided(decision, "exact")
        reply = ChargeReply(
            line.decided_us,
            tuple([StepResult(allowed, level) for allowed, level in line.results]),
            applied=line.applied,
            shadow_all=line.shadow_all,
        )
        return Redecided(judge(policy, facts, identity, assessment, reply), "exact")

    def _admitting(self, line: LoggedDecision, subject: Subject, facts: RequestFacts) -> Policy:
        """Whether strangers are let through to be adopted depends on a setting too (operator
        keys), which is not in the line, while its effect is."""
        if subject.status is not Status.PROVISIONAL or facts.credential is None:
            return self._policy
        adopts = all(rule != UNKNOWN_CREDENTIAL for rule, *_ in line.findings)
        return replace(self._policy, adopts_unknown=adopts)

    def _looks_at_names(self, assessment: Assessment) -> bool:
        """Whether a condition of the policy had to look at a value that is a pseudonym here."""
        if not self._nameless:
            return False
        values = _Watched(assessment.values, self._nameless)
        for rule in self._policy.rules:
            rule.when(values)
        for limit in self._policy.limits:
            if limit.when is not None:
                limit.when(values)
        return values.was_seen

    # ── under another policy ─────────────────────────────────────────────────────────────────

    async def _anew(
        self, line: LoggedDecision, facts: RequestFacts, subject: Subject | None
    ) -> Redecided:
        if subject is None and facts.route is not None:
            return Redecided(as_logged(line, facts, None), "carried")
        facts = self._routed(facts)
        if facts.route is None or subject is None:
            return Redecided(judge_unlisted(self._policy, facts), "recounted")
        await self._settle_until(facts.received_us)
        if self._is_windowed and facts.window is None:
            facts = with_changes(facts, window=self._store.window(subject.account_id))
        assessment = assess(self._policy, facts, subject)
        steps = tuple([planned.step for planned in assessment.plan])
        reply = await self._store.charge(Charge(line.id, None, 0, steps, facts.received_us))
        reply = with_changes(reply, shadow_all=line.shadow_all)
        decision = judge(self._policy, facts, Identity(subject, None), assessment, reply)
        self._close(line, facts, decision)
        return Redecided(decision, "blind" if self._looks_at_names(assessment) else "recounted")

    def _routed(self, facts: RequestFacts) -> RequestFacts:
        """The route by this policy's list. A path that was not listed before has facts of no
        body, which stay unknown."""
        route = self._routes.match(facts.method, b"", facts.path)
        if route is None:
            return with_changes(facts, route=None, dialect=dialect_of(facts.path))
        return with_changes(
            facts, route=route.name, dialect=route.dialect, is_inference=route.is_inference
        )

    def _close(self, line: LoggedDecision, facts: RequestFacts, decision: Decision) -> None:
        """A request that was refused then and is served now has no usage: its estimate stands."""
        usage: Usage | None = None
        if decision.is_served:
            usage = Usage(*line.usage) if line.verdict == "allow" else Usage()
        sighting, subject = None, decision.subject
        if self._is_windowed and facts.is_inference and subject and subject.version:
            status = line.upstream_status if line.verdict == "allow" else 200
            sighting = sighting_of(subject.account_id, facts, decision, usage, status)
        self._counted += 1  # tells equal instants apart
        due_us = max(line.finished_us, line.ts_us)
        due = settlement(decision, usage, now_us=due_us, sighting=sighting)
        if due is not None:
            heapq.heappush(self._due, (due_us, self._counted, due))

    async def _settle_until(self, now_us: int) -> None:
        while self._due and self._due[0][0] <= now_us:
            await self._store.settle(heapq.heappop(self._due)[2])


def as_logged(line: LoggedDecision, facts: RequestFacts, subject: Subject | None) -> Decision:
    """The decision as the line tells it."""
    findings = tuple(
        Finding(
            rule,
            Verdict[verdict.upper()],
            Mode(mode),
            "",
            None if level is None else Level[level.upper()],
            retry_after_us,
        )
        for rule, verdict, mode, retry_after_us, level in line.findings
    )
    return Decision(
        facts.decision_id,
        Verdict[line.verdict.upper()],
        Verdict[line.would_be.upper()],
        line.reason,
        findings,
        subject,
        None,
        line.policy,
        line.decided_us,
        line.status,
        degraded=bool(line.degraded),
        shadow_all=line.shadow_all,
    )


def opinions(decision: Decision) -> list[Opinion]:
    """The findings as the log has them."""
    return [
        (
            f.rule,
            f.verdict.text,
            f.mode.value,
            f.retry_after_us,
            None if f.level is None else f.level.name.lower(),
        )
        for f in decision.findings
    ]


def is_same(line: LoggedDecision, decision: Decision) -> bool:
    """Verdict, would_be, reason and findings are all as they were."""
    return (
        decision.verdict.text == line.verdict
        and decision.would_be.text == line.would_be
        and decision.reason == line.reason
        and opinions(decision) == line.findings
    )


def _is_other_plan(line: LoggedDecision, assessment: Assessment) -> bool:
    """Whether other limits concern the request than did then: results would be misread."""
    return [charge[0] for charge in line.charges] != [p.limit.name for p in assessment.plan]


def _as_charged(line: LoggedDecision, assessment: Assessment) -> Assessment:
    """With the quotas of clusters as they were then: their jitter hangs on the gateway's secret,
    which is not here, while the quota that it led to stands in the line."""
    plan = tuple(
        [
            planned if planned.limit.cluster is None else _charged(planned, charge)
            for planned, charge in zip(assessment.plan, line.charges, strict=True)
        ]
    )
    return with_changes(assessment, plan=plan)


def _charged(planned: PlannedStep, charge: tuple[Any, ...]) -> PlannedStep:
    _, _, limit, period_us, burst, amount, ceiling = charge
    step = with_changes(planned.step, amount=amount, ceiling=ceiling)
    return PlannedStep(planned.limit, Quota(limit, period_us, burst), step)


class _Watched(Sequence[object]):
    """Values that note whether one at some positions was looked at."""

    def __init__(self, values: tuple[object, ...], watched: frozenset[int]) -> None:
        self._values = values
        self._watched = watched
        self.was_seen = False

    @overload
    def __getitem__(self, index: int) -> object: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[object]: ...
    def __getitem__(self, index: int | slice) -> object:
        if isinstance(index, slice) or index in self._watched:
            self.was_seen = True
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)
