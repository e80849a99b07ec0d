"""An operator at work: tasks go out through the accounts of its pool, by its relay.

Open loop: nothing here knows what a gateway decides. `Operator.refused` is where a closed loop
tells it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from random import Random

from .conversations import Conversation, Source
from .days import DAY_S
from .desk import Desk, Later, Logged
from .models import speaks
from .pools import AccountPool, PoolFace, Tenure
from .seeds import Weighted
from .workshop import Workshop

MAX_ATTEMPTS = 4
MAX_WAITING = 20_000
MACHINE_S = 1.5
HUMAN_S = 200.0
REST_S = 60.0


class Operator:
    """One pool and what it is used for. `actor` is its number in the run's queue."""

    def __init__(self, pool: AccountPool, workshop: Workshop, desk: Desk, actor: int) -> None:
        self.pool = pool
        self.actor = actor
        self._desk = desk
        self._workshop = workshop
        self._raw = pool.campaign.raw
        self._knobs = pool.campaign.knobs
        self._models = Weighted(self._raw.models)
        self._dialects = Weighted(
            {d: w for d, w in self._raw.dialects.items() if d != "messages"} or {"chat": 1.0}
        )
        self._active: list[int] = []  # in the order of turns
        self._working: set[int] = set()  # the same, to ask quickly
        self._turn = 0
        self._joins: Sequence[Tenure] = pool.tenures
        self._joined = 0
        self._leaves: list[tuple[float, int]] = []
        self._resting: dict[int, float] = {}
        self._waiting: dict[tuple[Source, int], list[tuple[float, int, Conversation]]] = {}
        self._number = 0
        self._release = desk.plan.scenario.release
        self._is_affine = self._knobs.affine or self._raw.relay.dispatch == "affine"

    # ── accounts ─────────────────────────────────────────────────────────────────────────────

    def active_at(self, at_s: float) -> list[int]:
        """The accounts in use now; instants must not go back."""
        while self._joined < len(self._joins) and self._joins[self._joined].joins_s <= at_s:
            tenure = self._joins[self._joined]
            self._joined += 1
            self._join(tenure.account)
            heapq.heappush(self._leaves, (tenure.leaves_s, tenure.account))
        while self._leaves and self._leaves[0][0] <= at_s:
            self._retire(heapq.heappop(self._leaves)[1])
        return self._active

    def refused(self, account: int, at_s: float, status: int) -> None:
        """A gateway refused `account`: 403 and 451 cost the account, anything else a rest.

        The place of the closed loop: an account that is lost is replaced by the next of the
        pool's standby accounts, as far as there are any; one that rests is passed over for a
        minute.
        """
        if status in (401, 403, 451):
            self._retire(account)
            standby = self._next_standby()
            if standby is not None:
                self._join(standby)
        else:
            self._resting[account] = at_s + REST_S

    def _join(self, account: int) -> None:
        self._active.append(account)
        self._working.add(account)

    def _retire(self, account: int) -> None:
        if account in self._working:
            self._working.remove(account)
            self._active.remove(account)
        self._resting.pop(account, None)

    def _next_standby(self) -> int | None:
        """The next account that would have joined later anyway."""
        if self._joined >= len(self._joins):
            return None
        tenure = self._joins[self._joined]
        self._joined += 1
        heapq.heappush(self._leaves, (tenure.leaves_s, tenure.account))
        return tenure.account

    def _works(self, account: int, at_s: float) -> bool:
        """Whether a conversation may stay on its account."""
        self.active_at(at_s)
        return account in self._working and self._resting.get(account, 0.0) <= at_s

    def _next_account(self, at_s: float, rng: Random) -> int | None:
        """By turns, or by chance; accounts at rest are passed over."""
        active = self.active_at(at_s)
        if not active:
            return None
        if self._raw.relay.dispatch == "random":
            return active[int(rng.random() * len(active))]
        for _ in range(min(len(active), 50)):
            self._turn = (self._turn + 1) % len(active)
            account = active[self._turn]
            if self._resting.get(account, 0.0) <= at_s:
                return account
        return active[self._turn]

    # ── requests ─────────────────────────────────────────────────────────────────────────────

    def call(self, at_s: float, account: int | None) -> Logged | None:
        """The next request of the pool; None while it has no account. `account` names the one
        whose day it is, where the accounts keep a human day."""
        rng = self._desk.rng
        source = self._source(rng)
        conv = self._ready(source, at_s, account)
        if conv is None:
            conv = self._begun(source, at_s, rng)
        if account is None:
            account = conv.owner if self._is_affine else -1
            if account < 0 or not self._works(account, at_s):
                account = self._next_account(at_s, rng)
        if account is None:
            return None
        return self._send(conv, account, at_s, b"", 0)

    def again(self, later: Later) -> Logged:
        """The same content on another account, seconds after the model API failed it."""
        return self._send(later.conversation, later.account, later.at_s, later.body, later.attempt)

    def _send(
        self, conv: Conversation, account: int, at_s: float, body: bytes, attempt: int
    ) -> Logged:
        desk, rng, app = self._desk, self._desk.rng, conv.app
        face = self.pool.face(account, app.dialect)
        is_same = conv.owner == account
        conv.owner = account
        conv.client = face.clients[app.dialect]
        conv.key = face.keys[0]
        conv.address = self._address(face, rng)
        conv.user = self._user(conv, face, rng)
        if not body:
            body = conv.ask(rng, desk.prompt_bytes(app.kind))
        # A relay sends what failed as if it had never been sent; only an SDK counts attempts.
        request, failed_s = desk.post(conv, at_s, face.account_id, body, attempt * is_same)
        if failed_s is not None:
            self._after_failure(conv, account, at_s, failed_s, body, attempt)
        else:
            self._keep(conv)
        return request, None if conv.source == "strangers" else self.pool.campaign.id

    def _after_failure(
        self,
        conv: Conversation,
        account: int,
        at_s: float,
        failed_s: float,
        body: bytes,
        attempt: int,
    ) -> None:
        """Within seconds the same content goes to another account, or once more to this one."""
        if attempt >= MAX_ATTEMPTS:
            return
        rng, relay = self._desk.rng, self._raw.relay
        following: int | None = account
        if rng.random() < relay.failover:
            following = self._next_account(at_s, rng)
        low, high = relay.failover_s
        self._desk.resend(
            failed_s + low + rng.random() * (high - low),
            actor=self.actor,
            account=account if following is None else following,
            conversation=conv,
            body=body,
            attempt=attempt + 1,
        )

    def _source(self, rng: Random) -> Source:
        """Whose the next exchange is, so that shares are of exchanges and not of conversations."""
        knobs = self._knobs
        if knobs.mixing and rng.random() < knobs.mixing / (1 + knobs.mixing):
            return "strangers"
        if knobs.organic and rng.random() < knobs.organic:
            return "own-users"
        if knobs.probing and rng.random() < knobs.probing:
            return "probes"
        return "tasks"

    def _keep(self, conv: Conversation) -> None:
        """Put the conversation where its next turn will be found; machines answer at once."""
        conv.last_said = b""
        waiting = self._waiting.setdefault((conv.source, self._home_of(conv.owner)), [])
        if conv.is_over or len(waiting) >= MAX_WAITING:
            return
        self._number += 1
        is_human = conv.source in ("strangers", "own-users")
        noise = self._desk.noise()
        # Readers take minutes, and some take an hour: sigma 1.4.
        pause_s = HUMAN_S * noise**2.6 if is_human else MACHINE_S * noise
        heapq.heappush(waiting, (conv.ready_s + pause_s, self._number, conv))

    def _home_of(self, account: int) -> int:
        """Where an account's conversations wait: its own place where both the conversation stays
        and the account keeps its own hours, else that of the pool."""
        return account if self._is_affine and self._knobs.human_day else -1

    def _ready(self, source: Source, at_s: float, account: int | None) -> Conversation | None:
        key = (source, -1 if account is None else self._home_of(account))
        waiting = self._waiting.get(key)
        if waiting and waiting[0][0] <= at_s:
            return heapq.heappop(waiting)[2]
        return None

    def _begun(self, source: Source, at_s: float, rng: Random) -> Conversation:
        shop = self._workshop
        model, dialect = self._model(at_s, rng)
        system: bytes | None = None
        if source in ("strangers", "own-users"):
            app = shop.organic(rng)
            dialect = app.dialect
            if not speaks(model, dialect):
                model = app.model
        elif source == "probes":
            app = shop.probe(dialect)
        else:
            app, system = shop.task(dialect, rng)
        client = self.pool.face(self.pool.first, dialect).clients[dialect]
        conv = Conversation(app, client, rng, owner=-1, model=model, user=None, system=system)
        conv.source = source
        conv.launders = self._knobs.launders
        if source in ("strangers", "own-users"):
            conv.tenant = shop.tenant(rng)
        return conv

    def _model(self, at_s: float, rng: Random) -> tuple[str, str]:
        """What is asked for at this moment, and the dialect that serves it."""
        knobs, pivot = self._knobs, self._raw.pivot
        model = self._models.draw(rng)
        if knobs.moves_to is not None:
            day = (at_s - self.pool.begins_s) / DAY_S
            model = knobs.moves_to if day >= knobs.moves_on_day else model
        elif pivot is not None and self._release is not None:
            released_s = self._desk.plan.start_s + self._release.day * DAY_S
            done = (at_s - released_s) / (pivot.within_h * 3600)
            if done >= 0 and rng.random() < pivot.share * min(1.0, done):
                model = self._release.model
        if speaks(model, "messages"):
            return model, "messages"
        return model, self._dialects.draw(rng)

    def _address(self, face: PoolFace, rng: Random) -> str:
        exits = self._raw.exits
        if exits.use == "session" and not self._knobs.own_exits:
            return self._desk.pool.draw(rng, face.exit_kind, face.exit_country)
        if face.exit_kind == "mobile":
            return self._desk.pool.draw_shared(
                rng, self._desk.plan.seed, "mobile", face.exit_country
            )
        return face.address

    def _user(self, conv: Conversation, face: PoolFace, rng: Random) -> bytes | None:
        """What stands where a caller may name its end user."""
        kind = self._knobs.user_ids
        if kind == "random":
            return b"user_%016x" % rng.getrandbits(64)
        if kind == "account":
            return face.user
        if kind == "tenants":
            return conv.tenant or face.user
        return None
