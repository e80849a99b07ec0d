"""The store in memory: for replay at speed and for tests, equal to the Lua by property test.

Its methods never suspend. Time is the charge's own `now_us`, or the clock it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..core.gcra import correct, step
from ..core.window import is_idle, see
from ..model import (
    Charge,
    ChargeReply,
    Correction,
    Effect,
    Settlement,
    Step,
    StepKind,
    StepResult,
)
from .memory_directory import MemoryDirectory
from .memory_state import KeptCounters, MemoryState

MAX_FIELDS = 256
SLACK_US = 60_000_000
SECOND_US = 1_000_000
SWEEP_EVERY = 65_536
FULL_MARK = "~"  # the field that notes when a full set of counters was last looked through


class _Counters:
    """The counters of one tag, or the leases of one limit, and when they are worth nothing.

    `first_us`: of leases, when the first of them lapses, or earlier.
    """

    __slots__ = ("expires_us", "fields", "first_us")

    def __init__(self) -> None:
        self.fields: dict[str, int] = {}
        self.expires_us = 0
        self.first_us = 0

    def keep(self, until_us: int) -> None:
        if until_us > self.expires_us:
            self.expires_us = until_us


_Leases = dict[tuple[str, str], _Counters]
"""By tag and limit."""
_Looked = tuple[Step, StepResult, int, _Counters | None, str]
"""A step, its result if applied, the level before, where it is kept, under which name."""
# Looking a member up in its enum is slower than all that is done with it.
_ENFORCE, _SHADOW, _LOOK_SHADOW = Effect.ENFORCE, Effect.SHADOW, Effect.LOOK_SHADOW
_LEASE = StepKind.LEASE


class MemoryStore(MemoryDirectory):
    """`Store` and `Directory` of one process."""

    def __init__(self, now_us: Callable[[], int] | None = None) -> None:
        super().__init__(now_us)
        self._counters: tuple[dict[str, _Counters], dict[str, _Counters]] = ({}, {})
        self._leases: tuple[_Leases, _Leases] = ({}, {})  # enforced and shadow, as above
        self._windows: dict[str, bytes] = {}
        self._charges = 0

    # ── Store ────────────────────────────────────────────────────────────────────────────────

    async def charge(self, charge: Charge) -> ChargeReply:
        now_us = charge.now_us
        if now_us is None:
            now_us = self._now_us()
        if charge.account_id is not None:
            stored = self._known(charge.account_id)
            if stored is None or stored.version != charge.version:
                return ChargeReply(
                    now_us, is_stale=True, subject=stored, shadow_all=self._shadow_all
                )
        results = self._pass_all(charge, now_us)
        applied = True
        if results is None:
            looked = [self._look(one, now_us) for one in charge.steps]
            applied = all(s[1].allowed for s in looked if s[0].effect is _ENFORCE)
            results = [self._outcome(s, applied, charge.lease_id, now_us) for s in looked]
        self._charges += 1
        if self._charges % SWEEP_EVERY == 0:
            self._sweep(now_us)
        return ChargeReply(now_us, tuple(results), applied, False, None, self._shadow_all)

    def _pass_all(self, charge: Charge, now_us: int) -> list[StepResult] | None:
        """Nearly always everything is enforced and passes: `_look` and `_apply` for that alone,
        with nothing made or called that the case does not need. None, and nothing has changed,
        where it takes `_look`: a step does not pass, only looks, is a shadow, or finds its
        counters full."""
        results: list[StepResult] = []
        places: list[_Counters | None] = []
        all_counters, all_leases = self._counters[0], self._leases[0]
        tag, of_tag = None, None
        for one in charge.steps:
            amount = one.amount
            if one.effect is not _ENFORCE or not amount:
                return None
            if one.kind is _LEASE:
                kept = all_leases.get((one.tag, one.field))
                level = amount if kept is None else _held(kept, now_us) + amount
                if level > one.ceiling:
                    return None
            else:
                if one.tag is not tag:
                    tag, of_tag = one.tag, all_counters.get(one.tag)
                    if of_tag is not None and of_tag.expires_us <= now_us:
                        of_tag = None
                kept, level = of_tag, now_us
                if kept is not None:
                    if (tat_us := kept.fields.get(one.field)) is None:
                        if len(kept.fields) >= MAX_FIELDS:
                            return None
                    elif tat_us > now_us:
                        level = tat_us
                level += amount
                if level - now_us > one.ceiling:
                    return None
            results.append(StepResult(True, level))
            places.append(kept)
        for one, result, kept in zip(charge.steps, results, places, strict=True):
            until_us = now_us + one.ttl_us
            if one.kind is _LEASE:
                if kept is None or one.amount != 1:
                    self._take(one, kept, charge.lease_id, until_us)
                    continue
                fields = kept.fields
                if not fields or until_us < kept.first_us:
                    kept.first_us = until_us
                fields[charge.lease_id] = until_us
                if until_us + SLACK_US > kept.expires_us:
                    kept.expires_us = until_us + SLACK_US
                continue
            if kept is None:  # perhaps made by an earlier step of this request
                kept = self._alive(one.tag, False, now_us) or self._begin(one)
            level = kept.fields[one.field] = result.level
            if level > until_us:
                until_us = level
            if until_us + SLACK_US > kept.expires_us:
                kept.expires_us = until_us + SLACK_US
        return results

    def _outcome(self, seen: _Looked, applied: bool, lease_id: str, now_us: int) -> StepResult:
        """Charge one step where it takes part; where not, tell the level before it."""
        one, result, level, _, _ = seen
        effect = one.effect
        if applied if effect is _ENFORCE else effect is _SHADOW and result.allowed:
            self._apply(seen, lease_id, now_us)
        elif result.level != level:
            return StepResult(result.allowed, level)
        return result

    async def settle(self, settlement: Settlement) -> None:
        self._settle(settlement)

    def settle_soon(self, settlement: Settlement) -> None:
        self._settle(settlement)

    def _settle(self, settlement: Settlement) -> None:
        now_us = self._instant(settlement.now_us)
        for correction in settlement.corrections:
            if correction.kind is _LEASE:
                self._free(correction, settlement.lease_id)
            else:
                self._correct(correction, now_us)
        seen = settlement.sighting
        if seen is not None:
            before = self._windows.get(seen.account_id)
            self._windows[seen.account_id] = see(before, seen.packed, now_us // SECOND_US)

    def window(self, account_id: str) -> bytes | None:
        return self._windows.get(account_id)

    def windows(self) -> Mapping[str, bytes]:
        """All of them, by account."""
        return self._windows

    async def fetch_window(self, account_id: str) -> None:
        """Nothing to do: there is one process."""

    def _look(self, one: Step, now_us: int) -> _Looked:
        """What the step would come to, and where its counters are."""
        is_shadow = _is_shadow(one)
        field = one.field
        if one.kind is _LEASE:
            leases = self._leases[is_shadow].get((one.tag, field))
            held = 0 if leases is None else _held(leases, now_us)
            after = held + one.amount
            return one, StepResult(after <= one.ceiling, after), held, leases, field
        counters = self._counters[is_shadow].get(one.tag)
        if counters is None or counters.expires_us <= now_us:
            return one, step(0, now_us, one.amount, one.ceiling), 0, None, field
        tat_us = counters.fields.get(field)
        if tat_us is None:
            field = _charged_field(counters, field, now_us)
            tat_us = counters.fields.get(field, 0)
        amount = one.amount
        if tat_us <= now_us and 0 < amount <= one.ceiling:  # `step` where all has drained
            return one, StepResult(True, now_us + amount), tat_us, counters, field
        return one, step(tat_us, now_us, amount, one.ceiling), tat_us, counters, field

    def _apply(self, seen: _Looked, lease_id: str, now_us: int) -> None:
        one, result, _, kept, field = seen
        if not one.amount:
            return
        until_us = now_us + one.ttl_us
        if one.kind is _LEASE:
            self._take(one, kept, lease_id, until_us)
            return
        if kept is None:  # perhaps made by an earlier step of this request
            kept = self._alive(one.tag, _is_shadow(one), now_us) or self._begin(one)
        level = kept.fields[field] = result.level
        kept.keep(max(level, until_us) + SLACK_US)

    def _take(self, one: Step, leases: _Counters | None, lease_id: str, until_us: int) -> None:
        if leases is None:  # perhaps made by an earlier step of this request
            of_mode = self._leases[one.effect is not _ENFORCE]
            leases = of_mode.setdefault((one.tag, one.field), _Counters())
        if not leases.fields or until_us < leases.first_us:
            leases.first_us = until_us
        leases.fields[lease_id] = until_us
        if one.amount > 1:
            leases.fields.update(dict.fromkeys(_lease_names(lease_id, one.amount), until_us))
        leases.keep(until_us + SLACK_US)

    def _begin(self, one: Step | Correction) -> _Counters:
        counters = self._counters[_is_shadow(one)][one.tag] = _Counters()
        return counters

    def _correct(self, c: Correction, now_us: int) -> None:
        if c.delta_us < 0 and c.level_us <= now_us:
            return
        counters = self._alive(c.tag, _is_shadow(c), now_us)
        field = c.field if counters is None else _settled_field(counters, c.field)
        tat_us = 0 if counters is None else counters.fields.get(field, 0)
        corrected = correct(tat_us, now_us, c.delta_us, c.level_us)
        if corrected <= 0:
            return
        if counters is None:
            counters = self._begin(c)
        counters.fields[field] = corrected
        counters.keep(max(now_us + c.ttl_us, corrected) + SLACK_US)

    def _free(self, c: Correction, lease_id: str) -> None:
        leases = self._leases[_is_shadow(c)].get((c.tag, c.field))
        if leases is not None:
            leases.fields.pop(lease_id, None)
            if c.delta_us > 1:
                for name in _lease_names(lease_id, c.delta_us):
                    leases.fields.pop(name, None)

    def _alive(self, tag: str, is_shadow: bool, now_us: int) -> _Counters | None:
        counters = self._counters[is_shadow].get(tag)
        if counters is not None and counters.expires_us <= now_us:
            del self._counters[is_shadow][tag]
            return None
        return counters

    def _instant(self, now_us: int | None) -> int:
        return self._now_us() if now_us is None else now_us

    def _sweep(self, now_us: int) -> None:
        """What is idle past its time goes, without a pass over everything at each charge."""
        for counters in self._counters:
            for tag in [tag for tag, kept in counters.items() if kept.expires_us <= now_us]:
                del counters[tag]
        for leases in self._leases:
            for place in [place for place, kept in leases.items() if kept.expires_us <= now_us]:
                del leases[place]
        idle = [name for name, kept in self._windows.items() if is_idle(kept, now_us // SECOND_US)]
        for name in idle:
            del self._windows[name]
        self._forget_lapsed()

    async def remove(self, account_id: str) -> bool:
        for counters in self._counters:
            counters.pop(f"a:{account_id}", None)
        self._windows.pop(account_id, None)
        return await super().remove(account_id)

    # ── to be continued elsewhere ────────────────────────────────────────────────────────────

    def snapshot(self) -> MemoryState:
        """Everything; it shares what does not change and must be encoded before the next call."""
        counters = [
            KeptCounters(tag, None, bool(shadow), kept.expires_us, kept.fields)
            for shadow in (0, 1)
            for tag, kept in self._counters[shadow].items()
        ]
        leases = [
            KeptCounters(tag, limit, bool(shadow), kept.expires_us, kept.fields)
            for shadow in (0, 1)
            for (tag, limit), kept in self._leases[shadow].items()
        ]
        return MemoryState(
            list(self._subjects.values()),
            self._keys,
            self._owners,
            counters + leases,
            self._charges,
            self._shadow_all,
            self._windows,
            self._lapses_us,
        )

    def restore(self, state: MemoryState) -> None:
        """Become what `state` was; takes its parts over."""
        self._subjects = {subject.account_id: subject for subject in state.subjects}
        self._keys, self._owners = state.keys, state.owners
        self._charges, self._shadow_all = state.charges, state.shadow_all
        self._counters, self._leases = ({}, {}), ({}, {})
        self._windows, self._lapses_us = state.windows, state.lapses_us
        for one in state.counters:
            kept = _Counters()
            kept.fields, kept.expires_us = one.fields, one.expires_us
            if one.limit is None:
                self._counters[one.is_shadow][one.tag] = kept
            else:
                kept.first_us = min(kept.fields.values(), default=0)
                self._leases[one.is_shadow][one.tag, one.limit] = kept


def _is_shadow(of: Step | Correction) -> bool:
    return of.effect is _SHADOW or of.effect is _LOOK_SHADOW


def _held(leases: _Counters, now_us: int) -> int:
    fields = leases.fields
    if not fields:
        return 0
    if now_us >= leases.first_us:
        fields = {name: until for name, until in fields.items() if until > now_us}
        leases.fields, leases.first_us = fields, min(fields.values(), default=0)
    return len(fields)


def _charged_field(counters: _Counters, field: str, now_us: int) -> str:
    """What callers name beyond MAX_FIELDS live ones shares one field per limit."""
    if field in counters.fields or len(counters.fields) < MAX_FIELDS or ":" not in field:
        return field
    return field if _make_room(counters, now_us) else _shared_field(field)


def _make_room(counters: _Counters, now_us: int) -> bool:
    """Forget what has drained; where nothing has, look again a second later."""
    fields = counters.fields
    if 0 <= now_us - fields.get(FULL_MARK, 0) < SECOND_US:
        return False
    drained = [name for name, tat in fields.items() if tat <= now_us and name != FULL_MARK]
    for name in drained:
        del fields[name]
    if not drained:
        fields[FULL_MARK] = now_us
    return bool(drained)


def _settled_field(counters: _Counters, field: str) -> str:
    if field in counters.fields or ":" not in field:
        return field
    shared = _shared_field(field)
    is_full = len(counters.fields) >= MAX_FIELDS
    return shared if is_full or shared in counters.fields else field


def _shared_field(field: str) -> str:
    return field.partition(":")[0] + ":~"


def _lease_names(lease_id: str, count: int) -> list[str]:
    return [lease_id if i == 1 else f"{lease_id}:{i}" for i in range(1, count + 1)]
