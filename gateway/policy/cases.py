"""Policy tests as data: cases beside the policy, with a clock that stands where they say.

    cases:
      - name: a burst over the quota has to wait
        account: {tier: start, verification: email, age: 40d}
        request: {model: m-large, input_tokens: 2000}
        steps:
          - {times: 60, expect: {verdict: allow}}
          - {at: 0s, expect: {verdict: throttle, reason: start-requests}}
          - {at: 1s, expect: {verdict: allow}}

A case without `steps` is one request with its own `expect`. What a step says of `account` and
`request` is on top of what the case says. Each case begins with empty counters.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from ..model import (
    SECOND_US,
    TASKS,
    Grant,
    Level,
    Policy,
    RequestFacts,
    Status,
    Subject,
    TaskReading,
    Usage,
)
from .durations import parse_duration
from .hints import LEVEL_NAMES, did_you_mean
from .schema import Raw, validated
from .source import Place, Report, SourceFile, shown

DEFAULT_NOW = "2026-01-01T00:00:00Z"
MAX_CASES = 1_000
MAX_STEPS = 100
MAX_TIMES = 20_000
VerdictName = Literal["allow", "throttle", "verify", "deny"]
LevelName = Literal["none", "email", "phone", "payment", "identity", "organization"]
TaskName = Literal[
    "reasoning_elicitation",
    "grading",
    "cleaning",
    "synthesis",
    "tool_harvesting",
    "probing",
    "benchmark",
    "interactive",
    "batch",
]
Tokens = Annotated[int, Field(ge=0, le=10**9)]


class RawAccount(Raw):
    """The account as the store would hold it; `provisional` is a key that nobody knows."""

    id: str = "acc_1"
    status: Literal["active", "banned", "adopted", "provisional"] = "active"
    age: str | None = None
    verification: LevelName = "none"
    verified_for: str | None = None
    org_id: str | None = None
    tier: str | None = None
    billing_country: str | None = None
    phone_country: str | None = None
    signup_country: str | None = None
    ownership: str | None = None
    email_domain: str | None = None
    signup_path: str | None = None
    contracts: list[str] = Field(default_factory=list)
    sub_users: bool = False
    quotas: dict[str, str] = Field(default_factory=dict)
    cluster_id: str | None = None
    cluster_state: str | None = None
    cluster_size: int | None = None
    cluster_age: str | None = None
    suspicion: float | None = None


class RawRequest(Raw):
    """One request; the tokens are estimates."""

    route: str = "openai.chat_completions"
    surface: str = "proxy"
    key: str = "key_1"
    network: str | None = "network_1"
    country: str | None = None
    asn: int | None = None
    network_class: str | None = None
    user_agent: str | None = None
    sdk: str | None = None
    ja4: str | None = None
    end_user: str | None = None
    model: str | None = "model_1"
    stream: bool | None = None
    items: Annotated[int, Field(ge=1, le=10**6)] = 1
    body_bytes: Annotated[int, Field(ge=0, le=10**9)] = 1_000
    message_count: int | None = None
    tool_count: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    collecting: Annotated[float, Field(ge=0, le=1)] | None = None
    tasks: dict[TaskName, Annotated[float, Field(ge=0, le=1)]] | None = None
    workspace: Annotated[int, Field(ge=0, le=65_535)] = 0
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0


class RawUsed(Raw):
    """What the exchange really used; without it the estimates stand."""

    input_tokens: Tokens
    output_tokens: Tokens
    cached_input_tokens: Tokens = 0


class RawExpect(Raw):
    """What is said here must hold; what is not said may be anything."""

    verdict: VerdictName | None = None
    would_be: VerdictName | None = None
    reason: str | None = None
    level: LevelName | None = None
    status: int | None = None
    findings: list[str] | None = None


class RawStep(Raw):
    """`times` requests, the first `at` after the case's `now`, then one `every` so often; each
    `lasts` until it is settled."""

    at: str = "0s"
    times: Annotated[int, Field(ge=1, le=MAX_TIMES)] = 1
    every: str = "0s"
    lasts: str = "0s"
    account: dict[str, Any] = Field(default_factory=dict)
    request: dict[str, Any] = Field(default_factory=dict)
    used: RawUsed | None = None
    expect: RawExpect


class RawCase(Raw):
    """A story of one or several requests."""

    name: Annotated[str, Field(min_length=3, max_length=200)]
    now: str = DEFAULT_NOW
    account: dict[str, Any] = Field(default_factory=dict)
    request: dict[str, Any] = Field(default_factory=dict)
    used: RawUsed | None = None
    expect: RawExpect | None = None
    steps: list[RawStep] | None = Field(default=None, min_length=1, max_length=MAX_STEPS)


@dataclass(frozen=True, slots=True)
class CaseStep:
    """Some equal requests and what must become of each. `facts` has no id and no time yet."""

    place: Place
    first_us: int
    times: int
    every_us: int
    lasts_us: int
    subject: Subject
    key_id: str
    facts: RequestFacts
    usage: Usage
    expect: RawExpect


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    place: Place
    steps: tuple[CaseStep, ...]


def read_cases(file: SourceFile, policy: Policy, report: Report) -> list[Case]:
    """The usable cases of one test file; the report says what is wrong with the others."""
    top = Place(file)
    entries = file.data.get("cases") if isinstance(file.data, dict) else None
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_CASES:
        report.error(top, f"needs a list of 1 to {MAX_CASES} cases under cases")
        return []
    for key in file.data.keys() - {"cases"}:
        report.error(top / key, f"no such key{did_you_mean(key, ('cases',))}")
    reader = _CaseReader(policy, report)
    cases = [reader.read(data, top / "cases" / index) for index, data in enumerate(entries)]
    return [case for case in cases if case is not None]


class _CaseReader:
    def __init__(self, policy: Policy, report: Report) -> None:
        self._report = report
        self._routes = {route.name: route for route in policy.routes}
        self._names = policy.names

    def read(self, data: object, place: Place) -> Case | None:
        raw = validated(RawCase, data, place, self._report)
        if raw is None:
            return None
        now_us = self._instant_us(raw.now, place / "now")
        steps = []
        if raw.steps is None:
            if raw.expect is None:
                self._report.error(place, "needs expect, or steps")
                return None
            steps.append(self._step(raw, RawStep(expect=raw.expect, used=raw.used), now_us, place))
        else:
            for index, step in enumerate(raw.steps):
                steps.append(self._step(raw, step, now_us, place / "steps" / index))
        usable = tuple([step for step in steps if step is not None])
        return Case(raw.name, place, usable) if len(usable) == len(steps) else None

    def _step(self, case: RawCase, step: RawStep, now_us: int, place: Place) -> CaseStep | None:
        account = validated(
            RawAccount, case.account | step.account, place / "account", self._report
        )
        request = validated(
            RawRequest, case.request | step.request, place / "request", self._report
        )
        self._check_names(step.expect, place / "expect")
        if account is None or request is None:
            return None
        facts = self._facts(account, request, place / "request")
        first_us = now_us + self._duration_us(step.at, place / "at")
        subject = self._subject(account, now_us, place / "account")
        if facts is None:
            return None
        return CaseStep(
            place=place,
            first_us=first_us,
            times=step.times,
            every_us=self._duration_us(step.every, place / "every"),
            lasts_us=self._duration_us(step.lasts, place / "lasts"),
            subject=subject,
            key_id=request.key,
            facts=facts,
            usage=_usage(step.used or case.used),
            expect=step.expect,
        )

    def _check_names(self, expect: RawExpect, place: Place) -> None:
        """A finding or reason in lower case with hyphens that the policy does not have."""
        for name in expect.findings or ():
            if name not in self._names and "_" not in name:
                hint = did_you_mean(name, self._names)
                self._report.error(place / "findings", f"no such rule or limit{hint}")

    def _subject(self, raw: RawAccount, now_us: int, place: Place) -> Subject:
        created_us = self._ago_us(raw.age, now_us, place / "age")
        granted_us = self._ago_us(raw.verified_for, now_us, place / "verified_for")
        level = Level(LEVEL_NAMES.index(raw.verification))
        return Subject(
            raw.id,
            status=Status(raw.status),
            created_us=created_us,
            org_id=raw.org_id,
            tier=raw.tier,
            billing_country=raw.billing_country,
            phone_country=raw.phone_country,
            signup_country=raw.signup_country,
            ownership=raw.ownership,
            email_domain=raw.email_domain,
            signup_path=raw.signup_path,
            grants=(Grant(level, granted_us or created_us or now_us),) if level else (),
            contracts=tuple(raw.contracts),
            sub_users=raw.sub_users,
            quotas=raw.quotas,
            cluster_id=raw.cluster_id,
            cluster_state=raw.cluster_state,
            cluster_size=raw.cluster_size,
            cluster_since_us=self._ago_us(raw.cluster_age, now_us, place / "cluster_age"),
            suspicion=raw.suspicion,
        )

    def _facts(self, account: RawAccount, raw: RawRequest, place: Place) -> RequestFacts | None:
        route = self._routes.get(raw.route)
        if route is None:
            hint = did_you_mean(raw.route, self._routes)
            self._report.error(place / "route", f"no such route in this policy{hint}")
            return None
        return RequestFacts(
            decision_id="",
            received_us=0,
            surface=raw.surface,
            method=min(route.methods),
            path="/" + "/".join(route.pattern),
            route=route.name,
            dialect=route.dialect,
            is_inference=route.is_inference,
            credential=f"{account.id}/{raw.key}",
            client_network=raw.network,
            country=raw.country,
            asn=raw.asn,
            network_class=raw.network_class,
            user_agent=raw.user_agent,
            sdk=raw.sdk,
            ja4=raw.ja4,
            model=raw.model,
            stream=raw.stream,
            items=raw.items,
            body_bytes=raw.body_bytes,
            message_count=raw.message_count,
            tool_count=raw.tool_count,
            max_output_tokens=raw.max_output_tokens,
            temperature=raw.temperature,
            end_user=raw.end_user,
            estimated_input_tokens=raw.input_tokens,
            estimated_output_tokens=raw.output_tokens,
            task=_task(raw),
            collecting=raw.collecting,
        )

    def _ago_us(self, text: str | None, now_us: int, place: Place) -> int | None:
        return None if text is None else now_us - self._duration_us(text, place)

    def _duration_us(self, text: str, place: Place) -> int:
        try:
            return parse_duration(text)
        except ValueError as error:
            self._report.error(place, str(error))
            return 0

    def _instant_us(self, text: str, place: Place) -> int:
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            instant = None
        if instant is None or instant.tzinfo is None:
            self._report.error(
                place, f"must be an instant such as {DEFAULT_NOW}, not {shown(text)}"
            )
            return 0
        return int(instant.timestamp()) * SECOND_US


def _task(raw: RawRequest) -> TaskReading | None:
    """Scores that a case gives; those it does not name are 0."""
    if raw.tasks is None and not raw.workspace:
        return None
    scores = {str(name): score for name, score in (raw.tasks or {}).items()}
    ordered = tuple([scores.get(task, 0.0) for task in TASKS])
    return TaskReading("case", "", ordered, raw.workspace)


def _usage(raw: RawUsed | None) -> Usage:
    if raw is None:
        return Usage()
    return Usage(raw.input_tokens, raw.cached_input_tokens, raw.output_tokens)
