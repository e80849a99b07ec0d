"""Open-loop replay of a traffic log on event time, through the same engine as live traffic.

Law: nothing here reads a clock or a random number, so the same log, accounts and policy give
the same decisions to the byte. Law: event time never runs backwards; a line that comes late is
decided at the instant that has been reached. A refused request is decided and counted, while its
response, settlement and usage never happen; the usage of a served one lands at `ts + latency_ms`.

What is kept grows with accounts and their keys, and with what is in flight; never with the
exchanges that are over.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

from ..adapters.body import BodyFacts, read_body
from ..adapters.facts import NO_BODY, NO_ORIGIN, Origin, build_facts, origin_of
from ..adapters.routes import RouteTable, dialect_of
from ..classifiers.reader import TaskReader
from ..core.keyed import KeyedHash
from ..engine import Ending, Engine, PolicySource
from ..errors import RequestError
from ..friction.asking import ask_in, asked
from ..model import SECOND_US, Decision, Outcome, RequestFacts, Route, Subject, Usage, Verdict
from ..ports import Directory, EditedGeo, Store
from .account_changes import AccountChange
from .account_records import MAX_KEYS
from .events import AccountEvent
from .replay_hook import ReplayedRequest, ReplayHook
from .replay_summary import ReplaySummary
from .traffic import LoggedResponse, TrafficLine, address_of, head_of, instant_us

REPLAY_SECRET = b"hydragate replay: no secrets here"
NO_KEY = "-"
LINKER_LAG_US = 2 * SECOND_US
NEVER_US = 1 << 62
MIN_ORIGINS = 65_536  # as many addresses are remembered, 300 bytes each

LINE_BITS = 40  # lines of one log: a million million
LINE_MASK = (1 << LINE_BITS) - 1
# Looking a member up in its enum costs as much as what is done with it.
_COMPLETE, _ALLOW = Outcome.COMPLETE, Verdict.ALLOW

Asked = tuple[str, int]
"""An account that a decision asked for a verification, and when."""
Pending = tuple[Ending, Asked | None, RequestFacts | None, LoggedResponse | None]
"""What is needed when an answer is complete; facts and answer only where a hook is told of them.
Hundreds are under way: what is kept of each has to stay in the processor's cache."""


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


class Replay:
    """Feeds requests and account events, in order of time, to an engine of its own.

    `hook` is told of evidence and publishes on a tick every `lag_us` (see `replay_hook`).
    """

    def __init__(
        self,
        store: StoreAndDirectory,
        policies: PolicySource,
        *,
        hook: ReplayHook | None = None,
        lag_us: int = LINKER_LAG_US,
        tasks: TaskReader | None = None,
        geo: EditedGeo | None = None,
        keeps_windows: bool = False,
    ) -> None:
        self.summary = ReplaySummary()
        self.clock = EventClock()
        self.store = store
        self.due: list[int] = []  # a heap of `due_key`: whole numbers are compared fastest
        self.pending: dict[int, Pending] = {}  # by line
        self.keys_of: dict[str, int] = {}  # account → how many of its keys are known
        self.tick_us = NEVER_US
        self.line_us = 0  # of the latest line: where event time is as far as the log goes
        self.hook = hook
        self._lag_us = lag_us
        self._ids = LineIds()
        self._keyed = KeyedHash(REPLAY_SECRET)
        self.engine = Engine(
            store=store,
            policies=policies,
            clock=self.clock,
            ids=self._ids,
            keyed=self._keyed,
            event_time=True,
            geo=geo,
            tasks=tasks,
            keeps_windows=keeps_windows,
        )
        routes = RouteTable(policies.current.routes)
        self._place_of = lru_cache(maxsize=1024)(lambda method, path: _place(routes, method, path))
        self._origin_of = lru_cache(MIN_ORIGINS)(self._origin)
        self._credentials: dict[tuple[str, str], str] = {}

    async def add_account(self, change: AccountChange, key_ids: tuple[str, ...]) -> None:
        """An account of the accounts file; its keys are known by their ids alone."""
        account_id = change.account_id
        credentials = {self._credential(account_id, key): key for key in key_ids[:MAX_KEYS]}
        await self.store.put(change.apply(None), credentials)
        self.keys_of[account_id] = len(credentials)
        self.know_keys(account_id, credentials.items())

    def know_keys(self, account_id: str, credentials: Iterable[tuple[str, str]]) -> None:
        """Remember (credential, key id) pairs that the store has."""
        for credential, key in credentials:
            self._credentials[account_id, key] = credential

    def expect_all(self) -> None:
        """Be ready for requests of every account that is known by now, in any order: what is
        remembered of each is cheap beside working it out again for nearly every line."""
        count = len(self._credentials)
        self.engine.expect(count)
        self._origin_of = lru_cache(max(MIN_ORIGINS, count))(self._origin)

    async def apply_event(self, event: AccountEvent) -> None:
        """`created`, `changed`, `verified` or `banned`, at its time."""
        await self._advance(event.ts_us)
        stored = await self.store.get(event.account_id)
        changed = event.apply(stored or Subject(event.account_id))
        self.keys_of.setdefault(event.account_id, 0)
        await self.store.put(changed, None if stored is not None else {})

    async def decide(self, number: int, line: TrafficLine, at_us: int | None = None) -> Decision:
        """Decide one line; its usage, if served, lands when its response would have. `at_us` is
        the line's own instant, from whoever knows it already."""
        now_us = instant_us(line.ts) if at_us is None else at_us
        if now_us > self.line_us:
            self.line_us = now_us
        else:
            now_us = self.line_us
        if self.tick_us <= now_us or (self.due and self.due[0] <= now_us << LINE_BITS | LINE_MASK):
            await self._advance(now_us)
        if now_us > self.clock.us:
            self.clock.us = now_us
        key = line.key_id or NO_KEY
        credential = self._credentials.get((line.account_id, key))
        if credential is None:
            await self._learn_key(line.account_id, key)
        facts, error, body = self.facts_of(number, line, credential)
        if error is not None:
            decision = self.engine.reject(facts, error)
        else:
            decision = await self.engine.decide(facts)
        self.summary.count(line.account_id, decision)
        if self.hook is not None:
            asked = ReplayedRequest(number, self.clock.us, line, body, facts, decision)
            self.hook.on_request(asked)
            self._arm_tick()
        response = line.response
        if response is not None and decision.verdict is _ALLOW:
            due_us = facts.received_us + int(response.latency_ms * 1000)
            heapq.heappush(self.due, due_key(due_us, number))
            ending = self.engine.ending(
                facts, decision, _usage_of(response), response.status, due_us
            )
            ask = self._ask_of(facts, decision) if decision.findings else None
            if self.hook is None:
                self.pending[number] = ending, ask, None, None
            else:
                self.pending[number] = ending, ask, facts, response
        else:
            await self._close(facts, decision)
        return decision

    async def drain(self) -> None:
        """Settle what is still in flight at the end of the log, and publish a last time."""
        await self._advance(NEVER_US - 1)

    async def _advance(self, now_us: int) -> None:
        """Let everything happen that is due by then, in order of time."""
        due, clock, hook, engine = self.due, self.clock, self.hook, self.engine
        while True:
            due_us = due[0] >> LINE_BITS if due else NEVER_US
            if due_us > now_us and self.tick_us > now_us:
                break
            if due_us <= self.tick_us:
                if due_us > clock.us:
                    clock.us = due_us
                number = heapq.heappop(due) & LINE_MASK
                ending, ask, facts, response = self.pending.pop(number)
                if ending.adopted is None:
                    engine.settle(ending)
                else:
                    await engine.end(ending)
                if ask is not None:
                    await self._note_ask(*ask)
                if hook is not None and facts is not None and response is not None:
                    hook.on_response(number, due_us, facts, response)
                    self._arm_tick()
            elif hook is not None:
                clock.us = max(clock.us, self.tick_us)
                self.tick_us = NEVER_US
                await hook.on_tick(clock.us, self.store)
        if clock.us < now_us < NEVER_US - 1:
            clock.us = now_us

    def _arm_tick(self) -> None:
        """Publish at the next multiple of the lag; ticks after which nothing came are left out."""
        if self.tick_us == NEVER_US:
            self.tick_us = (self.clock.us // self._lag_us + 1) * self._lag_us

    async def _close(self, facts: RequestFacts, decision: Decision) -> None:
        """An exchange of which no answer is to come: refused, or logged without one."""
        if decision.is_served:
            await self.engine.finish(facts, decision, outcome=_COMPLETE, usage=Usage())
        else:
            await self.engine.finish(facts, decision, outcome=Outcome.REFUSED)
        ask = self._ask_of(facts, decision)
        if ask is not None:
            await self._note_ask(*ask)

    def _ask_of(self, facts: RequestFacts, decision: Decision) -> Asked | None:
        ask = ask_in(decision, self.engine.policies.current)
        if ask is None or decision.subject is None:
            return None
        return decision.subject.account_id, facts.received_us

    async def _note_ask(self, account_id: str, asked_us: int) -> None:
        """As `asking.AskKeeper` does live, when the exchange is over: a grace begins."""
        stored = await self.store.get(account_id)
        changed = None if stored is None else asked(stored, asked_us)
        if changed is not None:
            await self.store.put(changed, None)

    def facts_of(
        self, number: int, line: TrafficLine, credential: str | None = None
    ) -> tuple[RequestFacts, RequestError | None, BodyFacts]:
        """The facts at the instant reached, read as those of a live request are; the error says
        why the body could not be read, which is `NO_BODY` then. `credential` is the line's, from
        whoever knows it."""
        self._ids.line, now_us = number, self.clock.us
        if credential is None:
            credential = self._credential_of(line.account_id, line.key_id or NO_KEY)
        path, route, dialect = self._place_of(line.method, line.path)
        body, raw, error = NO_BODY, b"", None
        if route is not None and route.shape is not None:
            raw = bytes(line.body)
            if raw == b"null":  # the operator keeps no bodies
                raw = b""
            else:
                body, error = _read(raw, route.shape)
        task = None
        if error is None and body is not NO_BODY:
            task = self.engine.read_task(body.item or body, credential)
        facts = build_facts(
            decision_id=self._ids.new_id(now_us),
            received_us=now_us,
            surface="replay",
            method=line.method,
            path=path,
            route=route,
            dialect=dialect,
            software=head_of(line.headers)[1],
            credential=credential,
            origin=NO_ORIGIN if line.client_ip is None else self._origin_of(line.client_ip),
            body=body,
            body_bytes=len(raw),
            ja4=line.ja4,
            task=task,
            keyed=self._keyed,
            estimator=self.engine.estimator,
        )
        return facts, error, body

    def _origin(self, client_ip: str) -> Origin:
        return origin_of(address_of(client_ip), self._keyed, self.engine.geo)

    async def _learn_key(self, account_id: str, key: str) -> None:
        """The log names the account, so any key it used is that account's. An account that
        nobody imported stays unknown; keys beyond `MAX_KEYS` count as one."""
        known = self.keys_of.get(account_id)
        if known is None:
            return
        if known >= MAX_KEYS:
            key = NO_KEY
            if (account_id, key) in self._credentials:
                return
        credential = self._credential(account_id, key)
        stored = await self.store.get(account_id)
        if stored is not None:
            keys = {**await self.store.keys(account_id), credential: key}
            await self.store.put(stored, keys)
        self.keys_of[account_id] = known + 1
        self._credentials[account_id, key] = credential

    def _credential_of(self, account_id: str, key: str) -> str:
        """Also of an unknown account, or of a key beyond the bound."""
        known = self._credentials
        return (
            known.get((account_id, key))
            or known.get((account_id, NO_KEY))
            or self._credential(account_id, key)
        )

    def _credential(self, account_id: str, key_id: str) -> str:
        return self._keyed.credential(f"{account_id}\n{key_id}".encode())


def due_key(due_us: int, number: int) -> int:
    """In order of time, then of lines."""
    return due_us << LINE_BITS | number


def _place(routes: RouteTable, method: str, path: str) -> tuple[str, Route | None, str]:
    """Path without its query, route, dialect."""
    path = path.partition("?")[0]
    route = routes.match(method, path.encode("latin-1", "replace"), path)
    return path, route, route.dialect if route is not None else dialect_of(path)


def _usage_of(response: LoggedResponse) -> Usage | None:
    """None where nothing was used."""
    if response.status >= 400:
        return None
    return Usage(response.input_tokens, response.cached_input_tokens, response.output_tokens)


def _read(raw: bytes, shape: str) -> tuple[BodyFacts, RequestError | None]:
    try:
        return read_body(raw, shape), None
    except RequestError as error:
        return NO_BODY, error
