"""An operator at work: tasks go out through the accounts of its pool, by its relay.

Open loop: nothing here knows what a gateway decides. In a closed loop `Operator.refused` is told,
and its `OperatorReactions` say what that costs.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from random import Random

from .conversations import Conversation, Source
from .days import DAY_S
from .desk import Desk, Later, Sent
from .models import speaks
from .pools import AccountPool, PoolFace, Tenure
from .reactions import OperatorReactions
from .refusals import Refusal
from .seeds import Weighted
from .workshop import Workshop

MAX_ATTEMPTS = 4
MAX_WAITING = 20_000
MACHINE_S = 1.5
HUMAN_S = 200.0


class Operator:
    """One pool and what it is used for. `actor` is its number in the run's queue."""

    def __init__(
        self,
        pool: AccountPool,
        workshop: Workshop,
        desk: Desk,
        actor: int,
        reactions: OperatorReactions | None = None,
    ) -> None:
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
        self._reactions = reactions
        self._lost: set[int] = set()
        self._resting: dict[int, float] = {}  # until when, of accounts that will be back
        self._coming: list[tuple[float, int]] = []  # back from a rest, or newly made: when and who
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
        if self._reactions is not None:
            self._come_back(at_s, self._reactions)
        return self._active

    # ── accounts that are refused ────────────────────────────────────────────────────────────

    def refused(self, sent: Sent, refusal: Refusal) -> None:
        """A gateway refused it: the account rests, verifies itself or is lost, and the content goes
        to another one."""
        reactions = self._reactions
        assert reactions is not None
        account, at_s = sent.account, sent.at_s
        if sent.campaign is not None:
            reactions.note(at_s, served=False)
        self.active_at(at_s)
        if account in self._working:  # else it had left already, and this was a late retry
            back_s = reactions.back_s(account, refusal, at_s)
            self._retire(account)
            if back_s is None:
                self._lost.add(account)
                reactions.missing += 1
            else:
                self._await(account, back_s)
        self._elsewhere(sent)

    def _await(self, account: int, until_s: float) -> None:
        self._resting[account] = until_s
        heapq.heappush(self._coming, (until_s, account))

    def _come_back(self, at_s: float, reactions: OperatorReactions) -> None:
        """Accounts whose rest is over, and others for those that are lost."""
        while self._coming and self._coming[0][0] <= at_s:
            due_s, account = heapq.heappop(self._coming)
            if self._resting.get(account) == due_s:  # else it has left for good meanwhile
                del self._resting[account]
                self._join(account)
        while reactions.missing:
            if self._replacement(at_s, reactions) is None:
                return
            reactions.missing -= 1

    def _replacement(self, at_s: float, reactions: OperatorReactions) -> int | None:
        """From what lies ready, else of what would have joined later, else newly made."""
        account = reactions.reserve(at_s)
        if account is None:
            account = self._next_standby(at_s)
        if account is not None:
            self._join(account)
            return account
        bought = reactions.buy(at_s)
        if bought is None:
            return None
        self._await(*bought)
        return bought[0]

    def _next_standby(self, at_s: float) -> int | None:
        """The next account that would have joined later anyway, if it has signed up by now."""
        if self._joined >= len(self._joins):
            return None
        tenure = self._joins[self._joined]
        if self.pool.created_s(tenure.account, tenure.joins_s) > at_s:
            return None
        self._joined += 1
        heapq.heappush(self._leaves, (tenure.leaves_s, tenure.account))
        return tenure.account

    def _is_out(self, account: int, at_s: float) -> bool:
        """Whether the account is lost or at rest; never so in an open loop."""
        if not (self._lost or self._resting):
            return False
        self.active_at(at_s)
        return account in self._lost or account in self._resting

    def _join(self, account: int) -> None:
        self._active.append(account)
        self._working.add(account)

    def _retire(self, account: int) -> None:
        if account in self._working:
            self._working.remove(account)
            self._active.remove(account)
        self._resting.pop(account, None)

    def _works(self, account: int, at_s: float) -> bool:
        """Whether a conversation may stay on its account."""
        self.active_at(at_s)
        return account in self._working and not self._is_spent(account, at_s)

    def _next_account(self, at_s: float, rng: Random) -> int | None:
        """By turns, or by chance; None while nobody is in use."""
        active = self.active_at(at_s)
        while active:
            if self._raw.relay.dispatch == "random":
                account = active[int(rng.random() * len(active))]
            else:
                self._turn = (self._turn + 1) % len(active)
                account = active[self._turn]
            if not self._is_spent(account, at_s):
                return account
        return None

    def _is_spent(self, account: int, at_s: float) -> bool:
        """Whether the account has sent as much today as its operator dares: it rests then."""
        if self._reactions is None:
            return False
        until_s = self._reactions.spent_until_s(account, at_s)
        if until_s is None:
            return False
        self._retire(account)
        self._await(account, until_s)
        return True

    # ── requests ─────────────────────────────────────────────────────────────────────────────

    def call(self, at_s: float, account: int | None) -> Sent | None:
        """The next request of the pool; None while it has no account, or holds back. `account`
        names the one whose day it is, where the accounts keep a human day."""
        rng, reactions = self._desk.rng, self._reactions
        source = self._source(rng)
        if reactions is not None and source != "strangers":
            reactions.tally.want(at_s)
            if reactions.leaves_out():
                return None
        conv = self._ready(source, at_s, account)
        if conv is None:
            conv = self._begun(source, at_s, rng)
        if account is None:
            account = conv.owner if self._is_affine else -1
            if account < 0 or not self._works(account, at_s):
                account = self._next_account(at_s, rng)
        elif self._is_out(account, at_s):
            account = self._next_account(at_s, rng)
        if account is None:
            return None
        return self._send(conv, account, at_s)

    def again(self, later: Later) -> Sent | None:
        """The same content on another account, seconds after it failed; None where nobody is left
        to send it."""
        account: int | None = later.account
        if self._is_out(later.account, later.at_s):
            account = self._next_account(later.at_s, self._desk.rng)
        if account is None:
            return None
        return self._send(later.conversation, account, later.at_s, later)

    def _send(
        self, conv: Conversation, account: int, at_s: float, later: Later | None = None
    ) -> Sent:
        """The conversation's next request through `account`, or what `later` holds."""
        desk, rng, app = self._desk, self._desk.rng, conv.app
        face = self.pool.face(account, app.dialect)
        is_same = conv.owner == account
        conv.owner = account
        conv.client = face.clients[app.dialect]
        conv.key = face.keys[0]
        conv.address = self._address(face, rng)
        conv.user = self._user(conv, face, rng)
        body = conv.ask(rng, desk.prompt_bytes(app.kind)) if later is None else later.body
        tries = 0 if later is None else later.attempt
        if self._reactions is not None:
            self._reactions.drive(account, at_s)
        return desk.post(
            conv,
            at_s,
            body,
            sender=self,
            account=account,
            account_id=face.account_id,
            campaign=None if conv.source == "strangers" else self.pool.campaign.id,
            tries=tries,
            # A relay sends what failed as if it had never been sent; only an SDK counts attempts.
            attempt=tries * is_same,
            was_refused=later is not None and later.was_refused,
        )

    def answered(self, sent: Sent) -> None:
        """An answer, or a failure of the model API."""
        if self._reactions is not None and sent.campaign is not None:
            self._reactions.note(sent.at_s, served=True)
        if sent.failed_s is not None:
            self._after_failure(sent, sent.failed_s)
        else:
            self._keep(sent.conversation)

    def class_of(self, sent: Sent) -> None:
        """Whoever calls through a pool, it is the operator who sends."""

    def _after_failure(self, sent: Sent, failed_s: float) -> None:
        """Within seconds the same content goes to another account, or once more to this one."""
        if sent.attempt >= MAX_ATTEMPTS:
            return
        rng, following = self._desk.rng, sent.account
        if rng.random() < self._raw.relay.failover:
            other = self._next_account(sent.at_s, rng)
            following = sent.account if other is None else other
        self._resend(sent, following, failed_s)

    def _elsewhere(self, sent: Sent) -> None:
        """What was refused goes to another account within seconds, if there is any."""
        if sent.attempt >= MAX_ATTEMPTS:
            return
        following = self._next_account(sent.at_s, self._desk.rng)
        if following is not None:
            self._resend(sent, following, sent.conversation.ready_s)

    def _resend(self, sent: Sent, account: int, known_s: float) -> None:
        low, high = self._raw.relay.failover_s
        self._desk.resend(
            known_s + low + self._desk.rng.random() * (high - low),
            actor=self.actor,
            account=account,
            conversation=sent.conversation,
            body=sent.body,
            attempt=sent.attempt + 1,
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
