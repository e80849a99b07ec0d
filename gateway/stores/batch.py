"""One turn of the event loop, one round trip: what requests ask at the same time travels together.

Up to `MAX_ENTRIES` requests share a script call; one that meets a broken key fails alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import hiredis

from ..errors import StoreError
from ..model import Charge, ChargeReply, Settlement, StepKind, StepResult
from .codec import split
from .keys import Keys, plain
from .scripts import CHARGE, SETTLE, Script
from .wire import Observe, Wire

MAX_ENTRIES = 64

Packed = tuple[list[str | bytes | int], list[str | bytes | int]]
"""(keys, arguments) of one entry."""


def pack_charge(charge: Charge, keys: Keys) -> Packed:
    """One entry of charge.lua."""
    names: list[str | bytes | int] = []
    version: str | int = ""
    if charge.account_id is not None:
        names.append(keys.subject(charge.account_id))
        version = charge.version
    args: list[str | bytes | int] = [version, charge.lease_id, len(charge.steps)]
    for step in charge.steps:
        is_shadow = step.effect.is_shadow
        field = step.field
        if step.kind is StepKind.LEASE:
            names.append(keys.leases(step.tag, field, is_shadow=is_shadow))
        else:
            names.append(keys.counters(step.tag, is_shadow=is_shadow))
            field = field_name(field)
        args += (
            step.kind.value,
            step.effect.value,
            field,
            step.amount,
            step.ceiling,
            step.ttl_us,
        )
    return names, args


def pack_settlement(settlement: Settlement, keys: Keys) -> Packed:
    """The corrections of settle.lua."""
    names: list[str | bytes | int] = []
    args: list[str | bytes | int] = []
    for c in settlement.corrections:
        is_shadow = c.effect.is_shadow
        if c.kind is StepKind.LEASE:
            names.append(keys.leases(c.tag, c.field, is_shadow=is_shadow))
            args += ("c", settlement.lease_id, max(1, c.delta_us), 0, 0)
        else:
            names.append(keys.counters(c.tag, is_shadow=is_shadow))
            args += ("g", field_name(c.field), c.delta_us, c.level_us, c.ttl_us)
    return names, args


def field_name(field: str) -> str:
    """Limit name and further values; values that callers choose are bounded by hashing."""
    name, colon, value = field.partition(":")
    return field if not colon else f"{name}:{plain(value)}"


def read_entry(entry: Any, now_us: int, *, shadow_all: bool) -> ChargeReply | StoreError:
    """One entry of charge.lua's reply."""
    status = entry[0]
    if status == 0:
        results = tuple([StepResult(entry[i] == 1, entry[i + 1]) for i in range(2, len(entry), 2)])
        return ChargeReply(now_us, results, applied=entry[1] == 1, shadow_all=shadow_all)
    if status == 1:
        try:
            subject = None if entry[1] is None else split(entry[1])
        except StoreError as error:
            return error
        return ChargeReply(now_us, is_stale=True, subject=subject, shadow_all=shadow_all)
    return StoreError("refused", entry[1].decode("utf-8", "replace"))


class Batcher:
    """Collects what one event-loop turn asks of one server and sends it in as few calls.

    With `reads_mode` the kill switch is read in the same script (one server); a Cluster keeps
    it on another slot and reads it apart.
    """

    def __init__(self, wire: Wire, keys: Keys, *, reads_mode: bool, observe: Observe) -> None:
        self._wire = wire
        self._keys = keys
        self._reads_mode = reads_mode
        self._observe = observe
        self._charges: list[tuple[Charge, asyncio.Future[ChargeReply]]] = []
        self._settlements: list[tuple[Settlement, asyncio.Future[None]]] = []
        self._is_due = False
        self._loop = asyncio.get_running_loop()

    def charge(self, charge: Charge) -> asyncio.Future[ChargeReply]:
        answer: asyncio.Future[ChargeReply] = self._loop.create_future()
        self._charges.append((charge, answer))
        self._schedule()
        return answer

    def settle(self, settlement: Settlement) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = self._loop.create_future()
        self._settlements.append((settlement, answer))
        self._schedule()
        return answer

    def _schedule(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_due = False
        charges, self._charges = self._charges, []
        settlements, self._settlements = self._settlements, []
        for some in _portions(charges, lambda entry: entry[0].now_us):
            self._send_charges(some)
        for few in _portions(settlements, lambda entry: entry[0].now_us):
            self._send_settlements(few)

    def _send_charges(self, entries: list[tuple[Charge, asyncio.Future[ChargeReply]]]) -> None:
        names: list[Any] = [self._keys.mode] if self._reads_mode else []
        args: list[Any] = [entries[0][0].now_us or 0, int(self._reads_mode), len(entries)]
        for charge, _ in entries:
            more_names, more_args = pack_charge(charge, self._keys)
            names += more_names
            args += more_args

        def on_reply(reply: Any) -> None:
            if isinstance(reply, Exception):
                return _fail(entries, reply)
            shadow_all = reply[1] == b"shadow-all"
            for (_, answer), entry in zip(entries, reply[2:], strict=True):
                read = read_entry(entry, reply[0], shadow_all=shadow_all)
                _resolve(answer, read)

        self._run("charge", CHARGE, names, args, on_reply)

    def _send_settlements(self, entries: list[tuple[Settlement, asyncio.Future[None]]]) -> None:
        names: list[Any] = []
        args: list[Any] = []
        for settlement, _ in entries:
            more_names, more_args = pack_settlement(settlement, self._keys)
            names += more_names
            args += more_args

        def on_reply(reply: Any) -> None:
            if isinstance(reply, Exception):
                return _fail(entries, reply)
            for _, answer in entries:
                _resolve(answer, None)

        self._run("settle", SETTLE, names, [entries[0][0].now_us or 0, len(names), *args], on_reply)

    def _run(
        self,
        call: str,
        script: Script,
        names: list[Any],
        args: list[Any],
        on_reply: Callable[[Any], None],
    ) -> None:
        """EVALSHA; where the server has forgotten the script, nothing ran, so EVAL may follow."""
        started = time.perf_counter()
        tail = (len(names), *names, *args)

        def done(reply: Any) -> None:
            kind = None
            if isinstance(reply, Exception):
                if str(reply).startswith("NOSCRIPT"):
                    return self._write(("EVAL", script.source, *tail), done)
                kind = reply.kind if isinstance(reply, StoreError) else "refused"
            self._observe(call, time.perf_counter() - started, kind)
            on_reply(reply)

        self._write(("EVALSHA", script.sha, *tail), done)

    def _write(self, command: tuple[Any, ...], done: Callable[[Any], None]) -> None:
        try:
            self._wire.send(hiredis.pack_command(command), done)
        except StoreError as error:
            done(error)


def _portions(entries: list[Any], instant: Callable[[Any], int | None]) -> list[list[Any]]:
    """Runs of at most MAX_ENTRIES that share an instant (live traffic: the server's clock)."""
    portions: list[list[Any]] = []
    for entry in entries:
        last = portions[-1] if portions else None
        if last is None or len(last) >= MAX_ENTRIES or instant(last[0]) != instant(entry):
            portions.append([entry])
        else:
            last.append(entry)
    return portions


def _resolve(answer: asyncio.Future[Any], outcome: Any) -> None:
    if answer.done():  # the caller was cancelled
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def _fail(entries: list[tuple[Any, asyncio.Future[Any]]], error: Exception) -> None:
    for _, answer in entries:
        kind = error.kind if isinstance(error, StoreError) else "refused"
        _resolve(answer, StoreError(kind, str(error)))
