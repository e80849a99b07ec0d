"""Requests as the bytes of one script call, in RESP.

Law: what is packed here is what `charge.lua` and `settle.lua` read, argument by argument.
Nearly all of a charge repeats from one request of an account to its next (keys, fields, ceilings),
so its encoded pieces are kept, and a request only adds its lease id and its amounts.

Source: RESP2, arrays of bulk strings, https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..model import Charge, Correction, Effect, Settlement, Step, StepKind
from .keys import Keys, plain
from .scripts import Script

MAX_KEPT = 32_768  # pieces of each sort; about 300 bytes each
_NO_VERSION = b"$0\r\n\r\n"
_ZERO = b"$1\r\n0\r\n"
_ONE = b"$1\r\n1\r\n"
_LEASE_REST = _ZERO + _ZERO  # level and ttl mean nothing to a freed lease

_Shape = tuple[str, str, StepKind, Effect, int, int]
_Pieces = tuple[bytes, bytes, bytes]
"""(key, the arguments before the amount, those behind it)."""


@dataclass(slots=True)
class Portion:
    """The arguments of one script call, from the number of keys on."""

    argument_count: int
    arguments: bytes

    def by_sha(self, script: Script) -> bytes:
        return b"*%d\r\n$7\r\nEVALSHA\r\n$40\r\n%b\r\n%b" % (
            self.argument_count + 2,
            script.sha.encode(),
            self.arguments,
        )

    def by_source(self, script: Script) -> bytes:
        head = b"*%d\r\n$4\r\nEVAL\r\n" % (self.argument_count + 2)
        return head + bulk(script.source) + self.arguments


class Packer:
    """For one server: `reads_mode` says that the kill switch is read in the same call."""

    __slots__ = ("_corrections", "_has_mode", "_keys", "_mode", "_steps", "_subjects", "_windows")

    def __init__(self, keys: Keys, *, reads_mode: bool) -> None:
        self._keys = keys
        self._has_mode = _ONE if reads_mode else _ZERO
        self._mode = [bulk(keys.mode.encode())] if reads_mode else []
        self._steps: dict[_Shape, _Pieces] = {}
        self._subjects: dict[str, bytes] = {}
        self._corrections: dict[_Shape, _Pieces] = {}
        self._windows: dict[str, bytes] = {}

    def charges(self, charges: Sequence[Charge]) -> Portion:
        """All of one instant: the first one's `now_us` counts for the call."""
        names = list(self._mode)
        args = [_number(charges[0].now_us or 0), self._has_mode, _number(len(charges))]
        count = 3
        steps = self._steps
        for charge in charges:
            version = _NO_VERSION
            if charge.account_id is not None:
                names.append(self._subjects.get(charge.account_id) or self._subject(charge))
                version = _number(charge.version)
            lease, asked = charge.lease_id.encode(), charge.steps
            args.append(b"%b$%d\r\n%b\r\n%b" % (version, len(lease), lease, _number(len(asked))))
            for step in asked:
                shape = (step.tag, step.field, step.kind, step.effect, step.ceiling, step.ttl_us)
                name, before, behind = steps.get(shape) or self._step(step, shape)
                names.append(name)
                amount = b"%d" % step.amount
                args.append(b"%b$%d\r\n%b\r\n%b" % (before, len(amount), amount, behind))
            count += 3 + 6 * len(asked)
        return _portion(names, args, count)

    def settlements(self, settlements: Sequence[Settlement]) -> Portion:
        names: list[bytes] = []
        args: list[bytes] = []
        seen_names: list[bytes] = []
        seen: list[bytes] = []
        is_asked = False
        for settlement in settlements:
            sighting = settlement.sighting
            if sighting is not None:
                account_id, packed = sighting.account_id, sighting.packed
                seen_names.append(self._windows.get(account_id) or self._window(account_id))
                seen.append(b"$%d\r\n%b\r\n" % (len(packed), packed))
                is_asked |= sighting.is_asked
            for c in settlement.corrections:
                shape = (c.tag, c.field, c.kind, c.effect, 0, c.ttl_us)
                name, before, behind = self._corrections.get(shape) or self._correction(c, shape)
                names.append(name)
                if c.kind is StepKind.LEASE:
                    lease = settlement.lease_id.encode()
                    before = b"%b$%d\r\n%b\r\n" % (before, len(lease), lease)
                    args.append(before + _number(max(1, c.delta_us)) + behind)
                else:
                    args.append(before + _number(c.delta_us) + _number(c.level_us) + behind)
        head = [_number(settlements[0].now_us or 0), _number(len(names))]
        if is_asked:
            seen.append(_ONE)
        count = 2 + 5 * len(names) + len(seen)
        return _portion(names + seen_names, head + args + seen, count)

    def _window(self, account_id: str) -> bytes:
        if len(self._windows) >= MAX_KEPT:
            self._windows.clear()
        kept = self._windows[account_id] = bulk(self._keys.window(account_id).encode())
        return kept

    def _subject(self, charge: Charge) -> bytes:
        account_id = charge.account_id or ""
        if len(self._subjects) >= MAX_KEPT:
            self._subjects.clear()
        kept = self._subjects[account_id] = bulk(self._keys.subject(account_id).encode())
        return kept

    def _step(self, step: Step, shape: _Shape) -> _Pieces:
        if len(self._steps) >= MAX_KEPT:
            self._steps.clear()
        name, field = self._counter(step)
        kept = self._steps[shape] = (
            bulk(name.encode()),
            bulk(step.kind.encode()) + bulk(step.effect.encode()) + bulk(field.encode()),
            _number(step.ceiling) + _number(step.ttl_us),
        )
        return kept

    def _correction(self, correction: Correction, shape: _Shape) -> _Pieces:
        if len(self._corrections) >= MAX_KEPT:
            self._corrections.clear()
        name, field = self._counter(correction)
        is_lease = correction.kind is StepKind.LEASE
        kept = self._corrections[shape] = (
            bulk(name.encode()),
            bulk(b"c") if is_lease else bulk(b"g") + bulk(field.encode()),
            _LEASE_REST if is_lease else _number(correction.ttl_us),
        )
        return kept

    def _counter(self, of: Step | Correction) -> tuple[str, str]:
        """(key, field) of what is counted; a lease's key says it all."""
        is_shadow = of.effect.is_shadow
        if of.kind is StepKind.LEASE:
            return self._keys.leases(of.tag, of.field, is_shadow=is_shadow), ""
        return self._keys.counters(of.tag, is_shadow=is_shadow), field_name(of.field)


def field_name(field: str) -> str:
    """Limit name and further values; values that callers choose are bounded by hashing."""
    name, colon, value = field.partition(":")
    return field if not colon else f"{name}:{plain(value)}"


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


def _number(value: int) -> bytes:
    text = b"%d" % value
    return b"$%d\r\n%b\r\n" % (len(text), text)


def _portion(names: list[bytes], args: list[bytes], arg_count: int) -> Portion:
    arguments = b"".join((_number(len(names)), *names, *args))
    return Portion(1 + len(names) + arg_count, arguments)
