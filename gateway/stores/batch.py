"""One turn of the event loop, one round trip: what requests ask at the same time travels together.

Up to `MAX_ENTRIES` requests share a script call; one that meets a broken key fails alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import hiredis

from ..errors import StoreError
from ..model import Charge, ChargeReply, Settlement, StepKind, StepResult
from .codec import split
from .keys import Keys, plain
from .scripts import CHARGE, SETTLE, Script
from .wire import Observe, Wire

log = logging.getLogger("hydragate.store")

MAX_ENTRIES = 64
SETTLE_WITHIN_S = 0.002  # nobody waits for a settlement, so it may travel with the next charge
ASKING = hiredis.pack_command(("ASKING",))
UNAVAILABLE = frozenset({"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "TRYAGAIN"})

_Asked = TypeVar("_Asked")
_Reply = TypeVar("_Reply")
_Entry = tuple[_Asked, asyncio.Future[_Reply] | None, "Lane"]
"""(what is asked, who waits for it if anyone does, what it may travel with)."""

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
            field = ""  # the key says it all
        else:
            names.append(keys.counters(step.tag, is_shadow=is_shadow))
            field = field_name(field)
        args += (
            step.kind,
            step.effect,
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


@dataclass(frozen=True, slots=True)
class Lane:
    """What may share a script call: one slot of a Cluster (all are one on a single server), and
    whether the node must be told that we were sent there (ASK)."""

    slot: int = 0
    is_asking: bool = False


ONE_LANE = Lane()


class Batcher:
    """Collects what one event-loop turn asks of one server and sends it in as few calls.

    With `reads_mode` the kill switch is read in the same script (one server); a Cluster keeps
    it on another slot and reads it apart. Nothing is ever sent twice after it may have run: a
    charge or settlement whose reply is lost stays unknown, so a credit is given at most once.
    """

    def __init__(self, wire: Wire, keys: Keys, *, reads_mode: bool, observe: Observe) -> None:
        self.wire = wire
        self._keys = keys
        self._reads_mode = reads_mode
        self._observe = observe
        self._charges: list[_Entry[Charge, ChargeReply]] = []
        self._settlements: list[_Entry[Settlement, None]] = []
        self._is_due = False
        self._settling: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def charge(self, charge: Charge, lane: Lane = ONE_LANE) -> asyncio.Future[ChargeReply]:
        answer: asyncio.Future[ChargeReply] = self._loop.create_future()
        self._charges.append((charge, answer, lane))
        self._schedule()
        return answer

    def settle(self, settlement: Settlement, lane: Lane = ONE_LANE) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = self._loop.create_future()
        self._settlements.append((settlement, answer, lane))
        self._schedule()
        return answer

    def settle_soon(self, settlement: Settlement, lane: Lane = ONE_LANE) -> None:
        """As `settle`, for those who do not wait."""
        self._settlements.append((settlement, None, lane))
        if not self._is_due and self._settling is None:
            self._settling = self._loop.call_later(SETTLE_WITHIN_S, self._flush)

    async def drain(self) -> None:
        """Send what has not been sent, and wait until it has arrived."""
        self._flush()
        with contextlib.suppress(StoreError):
            await self.wire.call("PING")

    def _schedule(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Settlements first: a charge of the same turn sees what they give back."""
        self._is_due = False
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        charges, self._charges = self._charges, []
        settlements, self._settlements = self._settlements, []
        self.wire.hold()
        for few in _portions(settlements):
            self._attempt(self._send_settlements, few)
        for some in _portions(charges):
            self._attempt(self._send_charges, some)
        self.wire.release()

    def _attempt(self, send: Callable[[list[Any]], None], entries: list[Any]) -> None:
        """Whatever goes wrong, nobody is left waiting."""
        try:
            send(entries)
        except Exception as error:
            log.exception("a call to the store could not be written")
            _fail(entries, StoreError("refused", f"it could not be written: {error}"))

    def _send_charges(self, entries: list[_Entry[Charge, ChargeReply]]) -> None:
        names: list[Any] = [self._keys.mode] if self._reads_mode else []
        args: list[Any] = [entries[0][0].now_us or 0, int(self._reads_mode), len(entries)]
        for charge, _, _ in entries:
            more_names, more_args = pack_charge(charge, self._keys)
            names += more_names
            args += more_args

        def on_reply(reply: Any) -> str | None:
            shadow_all = reply[1] == b"shadow-all"
            kind = None
            for (_, answer, _), entry in zip(entries, reply[2:], strict=True):
                read = read_entry(entry, reply[0], shadow_all=shadow_all)
                if isinstance(read, StoreError):
                    kind = read.kind
                    self._leave_replica(str(read))
                _resolve(answer, read)
            return kind

        self._run("charge", CHARGE, (names, args), entries, on_reply)

    def _send_settlements(self, entries: list[_Entry[Settlement, None]]) -> None:
        names: list[Any] = []
        args: list[Any] = []
        for settlement, _, _ in entries:
            more_names, more_args = pack_settlement(settlement, self._keys)
            names += more_names
            args += more_args

        def on_reply(failed: Any) -> str | None:
            for _, answer, _ in entries:
                _resolve(answer, None)
            return "refused" if failed else None

        head = [entries[0][0].now_us or 0, len(names)]
        self._run("settle", SETTLE, (names, head + args), entries, on_reply)

    def _run(
        self,
        call: str,
        script: Script,
        packed: Packed,
        entries: Sequence[_Entry[Any, Any]],
        on_reply: Callable[[Any], str | None],
    ) -> None:
        """EVALSHA; where the server has forgotten the script, nothing ran, so EVAL may follow.

        `on_reply` gives the reply to the callers and returns the kind of error in it, if any.
        """
        started = time.perf_counter()
        names, args = packed
        tail = (len(names), *names, *args)
        is_asking = entries[0][2].is_asking

        def done(reply: Any) -> None:
            try:
                if isinstance(reply, hiredis.ReplyError):
                    text = str(reply)
                    if text.startswith("NOSCRIPT"):
                        self._write(("EVAL", script.source, *tail), done, is_asking=is_asking)
                        return
                    self._leave_replica(text)
                    reply = StoreError(reply_kind(text), text)
                if isinstance(reply, StoreError):
                    _fail(entries, reply)
                    kind: str | None = reply.kind
                else:
                    kind = on_reply(reply)
            except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
                kind = "refused"
                _fail(entries, StoreError(kind, f"an answer of another shape: {error}"))
            self._observe(call, time.perf_counter() - started, kind)

        self._write(("EVALSHA", script.sha, *tail), done, is_asking=is_asking)

    def _write(
        self, command: tuple[Any, ...], done: Callable[[Any], None], *, is_asking: bool
    ) -> None:
        try:
            if is_asking:
                self.wire.send(ASKING, _ignore)
            self.wire.send(hiredis.pack_command(command), done)
        except StoreError as error:
            done(error)

    def _leave_replica(self, message: str) -> None:
        """A primary that became a replica keeps its connections; ask again who is primary."""
        if "READONLY" in message:
            self._loop.call_soon(self.wire.reconnect, "the server has become a replica")


def reply_kind(message: str) -> str:
    """The kind of StoreError for an error reply."""
    word = message.partition(" ")[0]
    return "unreachable" if word in UNAVAILABLE else "refused"


def _portions(entries: list[_Entry[Any, Any]]) -> list[list[_Entry[Any, Any]]]:
    """Per lane, runs of at most MAX_ENTRIES that share an instant (live traffic: the server's
    clock)."""
    portions: list[list[_Entry[Any, Any]]] = []
    latest: dict[Lane, list[_Entry[Any, Any]]] = {}
    for entry in entries:
        run = latest.get(entry[2])
        if run is None or len(run) >= MAX_ENTRIES or run[0][0].now_us != entry[0].now_us:
            run = latest[entry[2]] = []
            portions.append(run)
        run.append(entry)
    return portions


def _resolve(answer: asyncio.Future[Any] | None, outcome: Any) -> None:
    if answer is None or answer.done():  # nobody waits, or the caller was cancelled
        return
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)


def _fail(entries: Sequence[_Entry[Any, Any]], error: StoreError) -> None:
    """Each caller gets an error of its own: a raised one collects its caller's traceback."""
    for _, answer, _ in entries:
        _resolve(answer, StoreError(error.kind, error.detail))


def _ignore(reply: Any) -> None:
    pass
