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
from ..model import Charge, ChargeReply, Settlement, StepResult
from .codec import split
from .keys import Keys
from .packing import Packer, Portion
from .scripts import CHARGE, SETTLE, Script
from .windows import WindowCache
from .wire import Observe, Wire

log = logging.getLogger("hydragate.store")

MAX_ENTRIES = 64
TOLD_AGAIN_S = 60.0
SETTLE_WITHIN_S = 0.002  # nobody waits for a settlement, so it may travel with the next charge
ASKING = hiredis.pack_command(("ASKING",))
UNAVAILABLE = frozenset({"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "TRYAGAIN"})

_Asked = TypeVar("_Asked")
_Reply = TypeVar("_Reply")
_Entry = tuple[_Asked, asyncio.Future[_Reply] | None, "Lane"]
"""(what is asked, who waits for it if anyone does, what it may travel with)."""


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

    def __init__(
        self,
        wire: Wire,
        keys: Keys,
        windows: WindowCache,
        *,
        reads_mode: bool,
        observe: Observe,
    ) -> None:
        """`windows` is told what each settlement's reply says of an account's window."""
        self.wire = wire
        self._windows = windows
        self.observe = observe
        self._packer = Packer(keys, reads_mode=reads_mode)
        self._charges: list[_Entry[Charge, ChargeReply]] = []
        self._settlements: list[_Entry[Settlement, None]] = []
        self._is_due = False
        self._settling: asyncio.TimerHandle | None = None
        self._tell_next_s = 0.0
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
        except UnicodeEncodeError as error:  # one cannot be packed, so nothing has been sent
            if len(entries) > 1:
                for entry in entries:
                    self._attempt(send, [entry])
            else:
                _fail(entries, StoreError("refused", f"it could not be written: {error}"))
        except Exception as error:
            log.exception("a call to the store could not be written")
            _fail(entries, StoreError("refused", f"it could not be written: {error}"))

    def _send_charges(self, entries: list[_Entry[Charge, ChargeReply]]) -> None:
        portion = self._packer.charges([entry[0] for entry in entries])

        def on_reply(reply: Any) -> str | None:
            shadow_all = reply[1] == b"shadow-all"
            kind = None
            for (_, answer, _), entry in zip(entries, reply[2:], strict=True):
                read = read_entry(entry, reply[0], shadow_all=shadow_all)
                if isinstance(read, StoreError):
                    kind = read.kind
                    self.tell_of_refusal("charge", read.detail)
                    self.leave_replica(str(read))
                _resolve(answer, read)
            return kind

        _Call(self, "charge", CHARGE, portion, entries, on_reply).write()

    def _send_settlements(self, entries: list[_Entry[Settlement, None]]) -> None:
        portion = self._packer.settlements([entry[0] for entry in entries])

        def on_reply(reply: Any) -> str | None:
            for _, answer, _ in entries:
                _resolve(answer, None)
            failed = reply[0] if isinstance(reply, list) else reply
            if failed is not reply:
                self._hear(entries, reply)
            return "refused" if failed else None

        _Call(self, "settle", SETTLE, portion, entries, on_reply).write()

    def _hear(self, entries: list[_Entry[Settlement, None]], reply: list[Any]) -> None:
        place = 0
        for settlement, _, _ in entries:
            if settlement.sighting is not None:
                place += 1
                if reply[place] is not None:
                    self._windows.put(settlement.sighting.account_id, reply[place])

    def tell_of_refusal(self, call: str, words: str) -> None:
        """What the server says no with, once a minute: a metric has no room for its words."""
        now_s = time.monotonic()
        if now_s >= self._tell_next_s:
            self._tell_next_s = now_s + TOLD_AGAIN_S
            log.error("the store at %s refuses a %s: %s", self.wire.address, call, words)

    def leave_replica(self, message: str) -> None:
        """A primary that became a replica keeps its connections; ask again who is primary."""
        if "READONLY" in message:
            self._loop.call_soon(self.wire.reconnect, "the server has become a replica")


class _Call:
    """One script call on its way. It is its own callback: a closure that names itself would be
    a cycle, and what an exchange allocates must be free when the exchange is over."""

    __slots__ = ("_batcher", "_entries", "_name", "_on_reply", "_portion", "_script", "_started_s")

    def __init__(
        self,
        batcher: Batcher,
        name: str,
        script: Script,
        portion: Portion,
        entries: Sequence[_Entry[Any, Any]],
        on_reply: Callable[[Any], str | None],
    ) -> None:
        """`on_reply` gives the reply to the callers and returns the kind of error in it, if any."""
        self._batcher = batcher
        self._name = name
        self._script = script
        self._portion = portion
        self._entries = entries
        self._on_reply = on_reply
        self._started_s = time.perf_counter()

    def write(self) -> None:
        self._send(self._portion.by_sha(self._script))

    def __call__(self, reply: Any) -> None:
        """EVALSHA's reply; where the server has forgotten the script, nothing ran, so EVAL may
        follow."""
        try:
            if isinstance(reply, hiredis.ReplyError):
                text = str(reply)
                if text.startswith("NOSCRIPT"):
                    self._send(self._portion.by_source(self._script))
                    return
                self._batcher.tell_of_refusal(self._name, text)
                self._batcher.leave_replica(text)
                reply = StoreError(reply_kind(text), text)
            if isinstance(reply, StoreError):
                _fail(self._entries, reply)
                kind: str | None = reply.kind
            else:
                kind = self._on_reply(reply)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            kind = "refused"
            _fail(self._entries, StoreError(kind, f"an answer of another shape: {error}"))
        self._batcher.observe(self._name, time.perf_counter() - self._started_s, kind)

    def _send(self, packed: bytes) -> None:
        wire = self._batcher.wire
        try:
            if self._entries[0][2].is_asking:
                wire.send(ASKING, _ignore)
            wire.send(packed, self)
        except StoreError as error:
            self(error)


def reply_kind(message: str) -> str:
    """The kind of StoreError for an error reply."""
    word = message.partition(" ")[0]
    return "unreachable" if word in UNAVAILABLE else "refused"


def _portions(entries: list[_Entry[Any, Any]]) -> list[list[_Entry[Any, Any]]]:
    """Per lane, runs of at most MAX_ENTRIES that share an instant (live traffic: the server's
    clock)."""
    if len(entries) == 1:
        return [entries]
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
