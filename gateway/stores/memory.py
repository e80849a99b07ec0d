"""The store in memory: for replay at speed and for tests, equal to the Lua by property test.

Its methods never suspend. Time is the charge's own `now_us`, or the clock it was given.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

from ..core.gcra import correct, step
from ..errors import StoreError
from ..model import (
    Charge,
    ChargeReply,
    Correction,
    Effect,
    Identity,
    Settlement,
    Step,
    StepKind,
    StepResult,
    Subject,
)
from .keys import ADOPTED_KEY_ID

MAX_FIELDS = 256
SLACK_US = 60_000_000
SECOND_US = 1_000_000
SWEEP_EVERY = 65_536
FULL_MARK = "~"  # the field that notes when a full set of counters was last looked through


class _Counters:
    """The counters of one tag, or the leases of one limit, and when they are worth nothing."""

    __slots__ = ("expires_us", "fields")

    def __init__(self) -> None:
        self.fields: dict[str, int] = {}
        self.expires_us = 0

    def keep(self, until_us: int) -> None:
        if until_us > self.expires_us:
            self.expires_us = until_us


_Place = tuple[_Counters | None, str]
"""Counters and field."""


class MemoryStore:
    """`Store` and `Directory` of one process."""

    def __init__(self, now_us: Callable[[], int] | None = None) -> None:
        self._now_us = now_us or (lambda: 0)
        self._counters: dict[tuple[str, bool], _Counters] = {}
        self._leases: dict[tuple[str, str, bool], _Counters] = {}
        self._subjects: dict[str, Subject] = {}
        self._owners: dict[str, tuple[str, str | None]] = {}
        self._keys: dict[str, dict[str, str]] = {}
        self._shadow_all = False
        self._charges = 0

    # ── Store ────────────────────────────────────────────────────────────────────────────────

    async def resolve(self, credential: str) -> Identity | None:
        owner = self._owners.get(credential)
        if owner is None:
            return None
        subject = self._subjects.get(owner[0])
        return None if subject is None else Identity(subject, owner[1])

    async def charge(self, charge: Charge) -> ChargeReply:
        now_us = self._instant(charge.now_us)
        if charge.account_id is not None:
            stored = self._subjects.get(charge.account_id)
            if stored is None or stored.version != charge.version:
                return ChargeReply(
                    now_us, is_stale=True, subject=stored, shadow_all=self._shadow_all
                )
        steps = charge.steps
        looked = [self._look(one, now_us) for one in steps]
        applied = True
        for one, (result, _, _) in zip(steps, looked, strict=True):
            if not result.allowed and one.effect is Effect.ENFORCE:
                applied = False
        results = []
        for one, (result, level, place) in zip(steps, looked, strict=True):
            effect = one.effect
            if applied if effect is Effect.ENFORCE else effect is Effect.SHADOW and result.allowed:
                self._apply(one, result.level, place, charge.lease_id, now_us)
            elif result.level != level:
                result = StepResult(result.allowed, level)
            results.append(result)
        self._charges += 1
        if self._charges % SWEEP_EVERY == 0:
            self._sweep(now_us)
        return ChargeReply(now_us, tuple(results), applied=applied, shadow_all=self._shadow_all)

    async def settle(self, settlement: Settlement) -> None:
        self._settle(settlement)

    def settle_soon(self, settlement: Settlement) -> None:
        self._settle(settlement)

    def _settle(self, settlement: Settlement) -> None:
        now_us = self._instant(settlement.now_us)
        for correction in settlement.corrections:
            if correction.kind is StepKind.LEASE:
                self._free(correction, settlement.lease_id)
            else:
                self._correct(correction, now_us)

    async def adopt(self, credential: str, subject: Subject, *, ttl_us: int) -> Subject:
        known = await self.resolve(credential)
        if known is not None:
            return known.subject
        account_id = subject.account_id
        self._owners[credential] = (account_id, None)
        self._keys.setdefault(account_id, {})[credential] = ADOPTED_KEY_ID
        stored = self._subjects.get(account_id)
        return stored if stored is not None else await self.put(subject, None, ttl_us=ttl_us)

    def _look(self, one: Step, now_us: int) -> tuple[StepResult, int, _Place]:
        """(the result if applied, the level before, where it is kept)."""
        if one.kind is StepKind.LEASE:
            held = self._held(one, now_us)
            after = held + one.amount
            return StepResult(after <= one.ceiling, after), held, (None, "")
        field = one.field
        counters = self._alive(one.tag, one.effect.is_shadow, now_us)
        if counters is None:
            return step(0, now_us, one.amount, one.ceiling), 0, (None, field)
        tat_us = counters.fields.get(field)
        if tat_us is None:
            field = _charged_field(counters, field, now_us)
            tat_us = counters.fields.get(field, 0)
        return step(tat_us, now_us, one.amount, one.ceiling), tat_us, (counters, field)

    def _apply(self, one: Step, level: int, place: _Place, lease_id: str, now_us: int) -> None:
        if one.amount == 0:
            return
        if one.kind is StepKind.LEASE:
            lease_key = (one.tag, one.field, one.effect.is_shadow)
            leases = self._leases.get(lease_key)
            if leases is None:
                leases = self._leases[lease_key] = _Counters()
            for name in _lease_names(lease_id, one.amount):
                leases.fields[name] = now_us + one.ttl_us
            leases.keep(now_us + one.ttl_us + SLACK_US)
            return
        counters, field = place
        if counters is None:  # perhaps made by an earlier step of this request
            key = (one.tag, one.effect.is_shadow)
            counters = self._counters.get(key)
            if counters is None:
                counters = self._counters[key] = _Counters()
        counters.fields[field] = level
        until_us = now_us + one.ttl_us
        counters.keep((level if level > until_us else until_us) + SLACK_US)

    def _held(self, one: Step, now_us: int) -> int:
        leases = self._leases.get((one.tag, one.field, one.effect.is_shadow))
        if leases is None:
            return 0
        for name in [name for name, expiry in leases.fields.items() if expiry <= now_us]:
            del leases.fields[name]
        return len(leases.fields)

    def _correct(self, c: Correction, now_us: int) -> None:
        counters = self._alive(c.tag, c.effect.is_shadow, now_us)
        field = c.field if counters is None else _settled_field(counters, c.field)
        tat_us = 0 if counters is None else counters.fields.get(field, 0)
        if c.delta_us < 0 and c.level_us <= now_us:
            return
        corrected = correct(tat_us, now_us, c.delta_us, c.level_us)
        if corrected <= 0:
            return
        if counters is None:
            counters = self._counters[(c.tag, c.effect.is_shadow)] = _Counters()
        counters.fields[field] = corrected
        counters.keep(max(now_us + c.ttl_us, corrected) + SLACK_US)

    def _free(self, c: Correction, lease_id: str) -> None:
        leases = self._leases.get((c.tag, c.field, c.effect.is_shadow))
        if leases is not None:
            for name in _lease_names(lease_id, max(1, c.delta_us)):
                leases.fields.pop(name, None)

    def _alive(self, tag: str, is_shadow: bool, now_us: int) -> _Counters | None:
        counters = self._counters.get((tag, is_shadow))
        if counters is not None and counters.expires_us <= now_us:
            del self._counters[(tag, is_shadow)]
            return None
        return counters

    def _instant(self, now_us: int | None) -> int:
        return self._now_us() if now_us is None else now_us

    def _sweep(self, now_us: int) -> None:
        """What is idle past its time goes, without a pass over everything at each charge."""
        self._counters = {k: c for k, c in self._counters.items() if c.expires_us > now_us}
        self._leases = {k: c for k, c in self._leases.items() if c.expires_us > now_us}

    # ── Directory ────────────────────────────────────────────────────────────────────────────

    async def put(
        self, subject: Subject, credentials: Mapping[str, str] | None, *, ttl_us: int | None = None
    ) -> Subject:
        """Raises StoreError `conflict` when the account has changed since it was read."""
        stored = self._subjects.get(subject.account_id)
        old = stored.version if stored is not None else 0
        if subject.version and subject.version != old:
            raise StoreError("conflict", f"account {subject.account_id} has changed meanwhile")
        if credentials is not None:
            self._set_keys(subject.account_id, credentials)
        subject = replace(
            subject,
            version=max(old + 1, self._now_us()),
            pseudonym=subject.pseudonym or secrets.token_hex(12),
        )
        self._subjects[subject.account_id] = subject
        return subject

    async def get(self, account_id: str) -> Subject | None:
        return self._subjects.get(account_id)

    async def keys(self, account_id: str) -> Mapping[str, str]:
        return dict(self._keys.get(account_id, {}))

    async def remove(self, account_id: str) -> bool:
        self._set_keys(account_id, {})
        for is_shadow in (False, True):
            self._counters.pop((f"a:{account_id}", is_shadow), None)
        return self._subjects.pop(account_id, None) is not None

    async def accounts(self) -> AsyncIterator[Subject]:
        for subject in list(self._subjects.values()):
            yield subject

    async def account_of(self, pseudonym: str) -> str | None:
        for subject in self._subjects.values():
            if subject.pseudonym == pseudonym:
                return subject.account_id
        return None

    async def set_shadow_all(self, shadow_all: bool) -> None:
        self._shadow_all = shadow_all

    async def is_shadow_all(self) -> bool:
        return self._shadow_all

    def _set_keys(self, account_id: str, credentials: Mapping[str, str]) -> None:
        for credential in self._keys.pop(account_id, {}):
            self._owners.pop(credential, None)
        for credential, key_id in credentials.items():
            former = self._owners.get(credential)
            if former is not None and former[0] != account_id:
                self._keys.get(former[0], {}).pop(credential, None)
                self._touch(former[0])
            self._owners[credential] = (account_id, key_id)
        self._keys[account_id] = dict(credentials)

    def _touch(self, account_id: str) -> None:
        stored = self._subjects.get(account_id)
        if stored is not None:
            version = max(stored.version + 1, self._now_us())
            self._subjects[account_id] = replace(stored, version=version)


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
