"""What people and operators do when a gateway refuses them: the closed half of a closed loop.

Law: nothing is drawn here while nobody is refused, and then from generators of its own, so that a
world in which everything is served is the open loop's world to the byte.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any

from ...model import Level, Verdict
from .days import DAY_S
from .desk import Sent
from .facts import account_id
from .ledger import HOUR_S, Ledger
from .pools import AccountPool
from .refusals import Refusal
from .schema import RawReacts, RawScript
from .seeds import python_rng

REST_S = 60.0  # where a refusal does not say how long
MAX_REST_S = 3600.0
MAX_OBEYED_S = 60.0  # SDKs ignore a longer Retry-After, and wait as after any failure
SETTLED_S = 1.0  # after a verification, before anybody tries again
SLOWS_AFTER_H = 6
SLOWS_AFTER_SENT = 50
MAX_BOUGHT = 1 << 20  # a pool: numbers of accounts are set aside for so many


class People:
    """Customers: SDKs wait and try again, people verify in their own time or give up.

    Who gives up, or is denied, goes on calling as before: programs do, and what a policy costs
    would be hidden if they did not.
    """

    def __init__(self, script: RawScript, seed: int, ledger: Ledger) -> None:
        self._script = script
        self._seed = seed
        self._ledger = ledger
        self._waits: dict[tuple[str, Level], float] = {}  # until when the account is verifying

    def wait_s(self, name: str, sent: Sent, refusal: Refusal, most: int) -> float | None:
        """Seconds until the same is sent again, None for never. `name` is of the sender's class,
        `most` how often its client tries again."""
        tally = self._ledger.of_class(name)
        if refusal.verdict is Verdict.THROTTLE:
            if sent.attempt >= most:
                tally.gave_up["throttle"] += 1
                return None
            tally.retried += 1
            asked_s = refusal.retry_after_s
            if asked_s is not None and asked_s <= MAX_OBEYED_S:
                return asked_s
            return 0.5 * 2.0**sent.attempt
        if refusal.verdict is Verdict.VERIFY and refusal.level is not None:
            self._asked(name, sent, refusal, refusal.level)
        else:
            tally.gave_up["deny"] += 1
        return None

    def _asked(self, name: str, sent: Sent, refusal: Refusal, level: Level) -> None:
        """Asked while still at it changes nothing."""
        account, at_s = sent.request.account_id, sent.at_s
        if self._waits.get((account, level), 0.0) > at_s:
            return
        tally, step = self._ledger.of_class(name), level.name.lower()
        terms = getattr(self._script.honest, step)
        tally.asked[step] += 1
        chance = python_rng(self._seed, "gives up", account, step).random()
        if chance * 1000 < terms.gives_up_per_mille:
            tally.gave_up[step] += 1
            self._waits[account, level] = float("inf")
            return
        done_s = at_s + terms.delay_s
        self._waits[account, level] = done_s + SETTLED_S
        if done_s >= self._ledger.end_s:
            tally.waiting[step] += 1
            return
        tally.passed[step] += 1
        tally.minutes_lost[step] += round(terms.delay_s / 60)
        self._ledger.passes(done_s, account, level, refusal.lasts_s)


class OperatorReactions:
    """One pool's: what its knobs say, what it has spent, and whom it has left.

    `first_bought` is the number of the first account that it makes on the way.
    """

    def __init__(
        self,
        pool: AccountPool,
        knobs: RawReacts,
        script: RawScript,
        ledger: Ledger,
        *,
        seed: int,
        first_bought: int,
    ) -> None:
        self.tally = ledger.campaign(pool.campaign.id)
        self.bought: list[tuple[int, float]] = []  # account, when it signed up
        self.missing = 0  # lost, and not yet replaced
        self._pool = pool
        self._knobs = knobs
        self._script = script
        self._ledger = ledger
        self._seed = seed
        self._first_bought = first_bought
        self._rng = python_rng(seed, *pool.path, "reacts")
        used = {tenure.account for tenure in pool.tenures}
        everyone = range(pool.first, pool.first + pool.count)
        self._reserve = deque(account for account in everyone if account not in used)
        self._passed: set[tuple[int, Level]] = set()
        self._day, self._left = -1, 0
        self._is_refused = False
        self._driven_day = -1
        self._driven: dict[int, int] = {}  # account → exchanges of that day
        self._hours: deque[tuple[int, list[int]]] = deque()  # hour, [sent, served]
        self._is_slow = False

    # ── an account is refused ────────────────────────────────────────────────────────────────

    def back_s(self, account: int, refusal: Refusal, at_s: float) -> float | None:
        """When the account may send again; None: it is lost."""
        self._is_refused = True
        if refusal.verdict is Verdict.THROTTLE:
            self.tally.rests += 1
            wait_s = refusal.retry_after_s
            return at_s + min(REST_S if wait_s is None else wait_s, MAX_REST_S)
        level = refusal.level
        if refusal.verdict is Verdict.VERIFY and level is not None:
            self.tally.asked[level.name.lower()] += 1
            if (account, level) not in self._passed and self._verifies(account):
                return self._pass(account, level, refusal, at_s)
        self.tally.lost.add(self._name(account))
        return None

    def _verifies(self, account: int) -> bool:
        return self._pool.rng("verifies", account).random() < self._knobs.verifies

    def _pass(self, account: int, level: Level, refusal: Refusal, at_s: float) -> float:
        """Pay, and be served after the delay. Asked the same again, nothing more is paid."""
        step = level.name.lower()
        terms = getattr(self._script.operator, step)
        most = refusal.most_accounts
        serves = terms.serves if most is None else min(terms.serves, most)
        self._passed.add((account, level))
        self.tally.passed[step] += 1
        self.tally.proofs[step] = self.tally.proofs.get(step, Fraction()) + Fraction(1, serves)
        done_s = at_s + float(terms.delay_s)
        self._ledger.passes(done_s, self._name(account), level, refusal.lasts_s)
        return done_s + SETTLED_S

    # ── other accounts instead ───────────────────────────────────────────────────────────────

    def reserve(self, at_s: float) -> int | None:
        """An account that lay ready and was to join only if others went."""
        while self._reserve:
            account = self._reserve.popleft()
            if self._pool.created_s(account, None) <= at_s:
                self.tally.from_reserve += 1
                return account
        return None

    def buy(self, at_s: float) -> tuple[int, float] | None:
        """A newly made account and when it is put to work; None while the day's budget is spent."""
        day = int((at_s - self._pool.begins_s) // DAY_S)
        if day > self._day:
            # Fractions of an account add up over days, so that small pools may buy too.
            daily = self._knobs.buys_daily * self._pool.base
            self._day, self._left = day, int((day + 1) * daily) - int(day * daily)
        if self._left <= 0 or len(self.bought) >= MAX_BOUGHT:
            return None
        self._left -= 1
        account = self._first_bought + len(self.bought)
        self.bought.append((account, at_s))
        self.tally.bought += 1
        self._ledger.happens(at_s, event="created", **self._record(account, at_s))
        within_s = self._pool.campaign.raw.relay.replaced_within_h * HOUR_S
        return account, at_s + self._rng.random() * within_s

    def _record(self, account: int, at_s: float) -> dict[str, Any]:
        """Facts as all accounts of the pool have them, but for when it signed up."""
        return {**self._pool.record(account, at_s), "created_at": int(at_s)}

    # ── how hard the accounts are driven ─────────────────────────────────────────────────────

    def drive(self, account: int, at_s: float) -> None:
        """One more exchange of that account."""
        day = int(at_s // DAY_S)
        if day != self._driven_day:
            self._driven_day, self._driven = day, {}
        self._driven[account] = self._driven.get(account, 0) + 1

    def spent_until_s(self, account: int, at_s: float) -> float | None:
        """When an account may send again that has sent as much today as the operator dares; None
        where it has not."""
        most = self._knobs.presses * self._pool.per_account_day
        day = int(at_s // DAY_S)
        if not self._is_refused or day != self._driven_day:
            return None
        return (day + 1) * DAY_S if self._driven.get(account, 0) >= most else None

    def _name(self, account: int) -> str:
        return account_id(self._seed, account)

    # ── slower ───────────────────────────────────────────────────────────────────────────────

    def note(self, at_s: float, *, served: bool) -> None:
        """One sending came out so."""
        hour = int(at_s // HOUR_S)
        if not self._hours or self._hours[-1][0] != hour:
            self._slow_down(at_s, hour)
            self._hours.append((hour, [0, 0]))
        counts = self._hours[-1][1]
        counts[0] += 1
        counts[1] += served

    def _slow_down(self, at_s: float, hour: int) -> None:
        """Once an hour, and once for all."""
        is_whole = bool(self._hours) and self._hours[0][0] <= hour - SLOWS_AFTER_H
        while self._hours and self._hours[0][0] < hour - SLOWS_AFTER_H:
            self._hours.popleft()
        sent = sum(counts[0] for _, counts in self._hours)
        served = sum(counts[1] for _, counts in self._hours)
        if not self._is_slow and is_whole and sent >= SLOWS_AFTER_SENT:
            self._is_slow = served < self._knobs.slows_below * sent
            if self._is_slow and self.tally.slowed_s is None:
                self.tally.slowed_s = at_s

    def leaves_out(self) -> bool:
        """Whether the next content is not sent at all, to be slower."""
        return self._is_slow and self._rng.random() >= self._knobs.slows_to
