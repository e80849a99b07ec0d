"""Open-loop replay of a traffic log on event time, through the same engine as live traffic.

Law: nothing here reads a clock or a random number, so the same log, accounts and policy give
the same decisions to the byte. A refused request is decided and counted, while its response,
settlement and usage never happen; the usage of a served one lands at `ts + latency_ms`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Protocol

from ..adapters.body import BodyFacts, read_body
from ..adapters.facts import NO_BODY, build_facts
from ..adapters.header_plan import request_plan
from ..adapters.routes import RouteTable, dialect_of
from ..core.keyed import KeyedHash
from ..engine import Engine, PolicySource
from ..errors import RequestError
from ..model import (
    SECOND_US,
    Decision,
    Outcome,
    RequestFacts,
    Subject,
    Usage,
    Verdict,
)
from ..ports import Directory, Store
from .accounts import AccountChange
from .events import AccountEvent
from .traffic import LoggedRequest

REPLAY_SECRET = b"hydragate replay: no secrets here"
NO_KEY = "-"


class StoreAndDirectory(Store, Directory, Protocol):
    """Both sides of one store."""


class EventClock:
    """The instant of the line being replayed."""

    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us


class LineIds:
    """Decision ids that name the line."""

    def __init__(self) -> None:
        self.line = 0

    def new_id(self, now_us: int) -> str:
        return f"r{self.line:025d}"


@dataclass(slots=True)
class ReplaySummary:
    """CONTRACTS §4's `summary.json`."""

    exchanges: int = 0
    refused: int = 0
    by_verdict: Counter[str] = field(default_factory=Counter)
    by_would_be: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[str] = field(default_factory=Counter)
    touched: dict[str, set[str]] = field(default_factory=dict)
    degraded: int = 0
    wall_s: float = 0.0

    def count(self, account_id: str, decision: Decision) -> None:
        self.exchanges += 1
        verdict = decision.verdict.text
        self.by_verdict[verdict] += 1
        self.by_would_be[decision.would_be.text] += 1
        self.degraded += decision.degraded
        for finding in decision.findings:
            self.by_rule[finding.rule] += 1
        if decision.verdict is not Verdict.ALLOW:
            self.refused += 1
            self.touched.setdefault(verdict, set()).add(account_id)

    def as_json(self, peak_memory_bytes: int) -> dict[str, Any]:
        everyone = set().union(*self.touched.values()) if self.touched else set()
        return {
            "exchanges": self.exchanges,
            "refused": self.refused,
            "by_verdict": dict(sorted(self.by_verdict.items())),
            "by_would_be": dict(sorted(self.by_would_be.items())),
            "by_rule": dict(sorted(self.by_rule.items())),
            "accounts_touched": {v: len(ids) for v, ids in sorted(self.touched.items())},
            "accounts_touched_any": len(everyone),
            "degraded": self.degraded,
            "wall_s": round(self.wall_s, 3),
            "exchanges_per_s": round(self.exchanges / self.wall_s) if self.wall_s else None,
            "peak_memory_bytes": peak_memory_bytes,
        }


@dataclass(order=True, slots=True)
class _Pending:
    due_us: int
    line: int
    facts: RequestFacts = field(compare=False)
    decision: Decision = field(compare=False)
    usage: Usage | None = field(compare=False)
    status: int = field(compare=False)


class Replay:
    """Feeds requests and account events, in order of time, to an engine of its own."""

    def __init__(self, store: StoreAndDirectory, policies: PolicySource) -> None:
        self.summary = ReplaySummary()
        self._clock = EventClock()
        self._ids = LineIds()
        self._keyed = KeyedHash(REPLAY_SECRET)
        self._store = store
        self._policies = policies
        self._engine = Engine(
            store=store,
            policies=policies,
            clock=self._clock,
            ids=self._ids,
            keyed=self._keyed,
            event_time=True,
        )
        self._pending: list[_Pending] = []
        self._routes = RouteTable(policies.current.routes)
        self._credentials: dict[tuple[str, str], str] = {}
        self._known: dict[str, dict[str, str]] = {}

    async def add_account(self, change: AccountChange, key_ids: tuple[str, ...]) -> None:
        """An account of the accounts file; its keys are known by their ids alone."""
        credentials = {self._credential(change.account_id, key): key for key in key_ids}
        self._known[change.account_id] = credentials
        await self._store.put(change.apply(None), credentials)

    async def apply_event(self, event: AccountEvent) -> None:
        """`created`, `changed`, `verified` or `banned`, at its time."""
        await self._settle_until(event.ts_us)
        self._clock.us = max(self._clock.us, event.ts_us)
        stored = await self._store.get(event.account_id)
        changed = event.apply(stored or Subject(event.account_id))
        self._known.setdefault(event.account_id, {})
        await self._store.put(changed, None if stored is not None else {})

    async def decide(self, line: int, request: LoggedRequest) -> Decision:
        """Decide one line; its usage, if served, lands when its response would have."""
        now_us = int(request.ts * SECOND_US)
        await self._settle_until(now_us)
        self._clock.us = now_us
        self._ids.line = line
        await self._know_key(request)
        facts, error = self._facts(request, now_us)
        if error is not None:
            decision = self._engine.reject(facts, error)
        else:
            decision = await self._engine.decide(facts)
        self.summary.count(request.account_id, decision)
        await self._close(line, request, facts, decision)
        return decision

    async def drain(self) -> None:
        """Settle what is still in flight at the end of the log."""
        while self._pending:
            await self._finish(heapq.heappop(self._pending))

    async def _close(
        self, line: int, request: LoggedRequest, facts: RequestFacts, decision: Decision
    ) -> None:
        response = request.response
        if not decision.is_served or response is None:
            outcome = Outcome.COMPLETE if decision.is_served else Outcome.REFUSED
            usage = Usage() if decision.is_served else None
            await self._engine.finish(facts, decision, outcome=outcome, usage=usage)
            return
        usage = None
        if response.status < 400:
            usage = Usage(
                response.input_tokens, response.cached_input_tokens, response.output_tokens
            )
        due_us = facts.received_us + int(response.latency_ms * 1000)
        heapq.heappush(
            self._pending, _Pending(due_us, line, facts, decision, usage, response.status)
        )

    async def _settle_until(self, now_us: int) -> None:
        while self._pending and self._pending[0].due_us <= now_us:
            await self._finish(heapq.heappop(self._pending))

    async def _finish(self, due: _Pending) -> None:
        self._clock.us = max(self._clock.us, due.due_us)
        await self._engine.finish(
            due.facts,
            due.decision,
            outcome=Outcome.COMPLETE,
            usage=due.usage,
            upstream_status=due.status,
            finished_us=due.due_us,
        )

    def _facts(
        self, request: LoggedRequest, now_us: int
    ) -> tuple[RequestFacts, RequestError | None]:
        path = request.path.partition("?")[0]
        route = self._routes.match(request.method, path.encode("latin-1", "replace"), path)
        body, raw, error = NO_BODY, b"", None
        if route is not None and route.shape is not None:
            raw = bytes(request.body)
            if raw == b"null":  # the operator keeps no bodies
                raw = b""
            else:
                body, error = _read(raw, route.shape)
        headers = [
            (name.encode("latin-1", "replace"), value.encode()) for name, value in request.headers
        ]
        facts = build_facts(
            decision_id=self._ids.new_id(now_us),
            received_us=now_us,
            surface="replay",
            method=request.method,
            path=path,
            route=route,
            dialect=route.dialect if route is not None else dialect_of(path),
            headers=headers,
            plan=request_plan(headers),
            credential=self._credential(request.account_id, request.key_id or NO_KEY),
            address=None if request.client_ip is None else ip_address(request.client_ip),
            body=body,
            body_bytes=len(raw),
            ja4=request.ja4,
            keyed=self._keyed,
            estimator=self._engine.estimator,
        )
        return facts, error

    async def _know_key(self, request: LoggedRequest) -> None:
        """The log names the account, so any key it used is that account's."""
        credentials = self._known.get(request.account_id)
        if credentials is None:
            return
        key = request.key_id or NO_KEY
        credential = self._credential(request.account_id, key)
        if credential not in credentials:
            credentials[credential] = key
            stored = await self._store.get(request.account_id)
            if stored is not None:
                await self._store.put(stored, credentials)

    def _credential(self, account_id: str, key_id: str) -> str:
        pair = (account_id, key_id)
        known = self._credentials.get(pair)
        if known is None:
            known = self._keyed.credential(f"{account_id}\n{key_id}".encode())
            self._credentials[pair] = known
        return known


def _read(raw: bytes, shape: str) -> tuple[BodyFacts, RequestError | None]:
    try:
        return read_body(raw, shape), None
    except RequestError as error:
        return NO_BODY, error


def decision_line(request: LoggedRequest, decision: Decision) -> dict[str, Any]:
    """CONTRACTS §4's line of `decisions.jsonl.gz`."""
    subject = decision.subject
    return {
        "ts": request.ts,
        "account_id": request.account_id,
        "verdict": decision.verdict.text,
        "would_be": decision.would_be.text,
        "served": decision.is_served,
        "reason": decision.reason,
        "findings": [
            {"rule": f.rule, "verdict": f.verdict.text, "mode": f.mode.value}
            for f in decision.findings
        ],
        "cluster_id": subject.cluster_id if subject else None,
        "suspicion": subject.suspicion if subject else None,
        "degraded": decision.degraded,
    }
