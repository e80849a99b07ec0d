"""The linker's process: evidence in, clusters out, one leader at a time.

    standby ──lease──▶ restore ──▶ (orders, evidence, tick, publish, snapshot, status)* ──▶ standby

Law: only the holder of the lease writes. Law: a snapshot holds the graph together with the
positions behind which it has read, and messages are forgotten only once a snapshot holds them;
so after a crash nothing is missing and nothing counts twice. Law: an order is in a snapshot before
it is answered, and a cluster before it is published, so that it keeps its id. What was published
stays in force while nobody leads: it lies in the accounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import StoreError
from ..linking.linker import Linker
from ..ports import Clock
from ..stores import RedisStore
from ..stores.lease import Lease
from ..stores.mailbox import Letter, LinkerStatus, Mailbox, StatusBoard, read_letter
from ..stores.relink import Relinker, Written
from ..stores.snapshots import Snapshots
from ..stores.stream import EVIDENCE_MESSAGES, MessageLog
from .linker_orders import ACTIONS, STATES, obey
from .linker_state import Progress, pack_state, unpack_state

log = logging.getLogger("hydragate.linker")

READ_AT_ONCE = 256  # messages
LETTERS_AT_ONCE = 32
PUBLISH_AT_ONCE = 512
IDLE_S = 0.2
STORE_PAUSE_S = 1.0
WARNED_AGAIN_S = 60.0
EARLY_S = 5.0
MOST_SAVING = 0.1  # of the time, for snapshots that nobody waits for


@dataclass(frozen=True, slots=True)
class Pace:
    """`lease_s` is how long a standby waits after a leader died without a word."""

    tick_s: float = 2.0
    snapshot_s: float = 30.0
    lease_s: float = 10.0


class LeaseLostError(Exception):
    """Another process may lead by now: forget everything and stand by."""


class LinkerProcess:
    """Stands by, leads, and hands over.

    `create` makes an empty graph, `restore` one from its snapshot. `leader` is how status and log
    name this process.
    """

    def __init__(
        self,
        store: RedisStore,
        *,
        clock: Clock,
        create: Callable[[], Linker],
        restore: Callable[[bytes], Linker],
        leader: str,
        pace: Pace = Pace(),
    ) -> None:
        self.is_leading = False
        self._warned_s: dict[str, float] = {}
        self._evidence = MessageLog(store, "evidence", most=EVIDENCE_MESSAGES)
        self._mailbox = Mailbox(store)
        self._snapshots = Snapshots(store, "snapshot")
        self._board = StatusBoard(store)
        self._relinker = Relinker(store)
        self._lease = Lease(store, "lease", lease_s=pace.lease_s)
        self._clock = clock
        self._create = create
        self._restore = restore
        self._leader = leader
        self._pace = pace

    async def run(self, stopping: asyncio.Event) -> None:
        """Until told to stop; a store that does not answer only makes it wait."""
        while not stopping.is_set():
            try:
                if await self._lease.hold():
                    await self._lead(stopping)
                else:
                    await _pause(stopping, self._pace.lease_s / 5)
            except LeaseLostError:
                log.warning("the lease is lost; standing by")
            except StoreError as error:
                self._warn("standing by: %s", error)
                await _pause(stopping, STORE_PAUSE_S)
            finally:
                self.is_leading = False

    async def _lead(self, stopping: asyncio.Event) -> None:
        ending = asyncio.Event()  # no cancelling: wait_for of Python 3.11 may swallow one
        renewing = asyncio.create_task(self._renew(ending))
        try:
            reign = await self._begin()
            self.is_leading = True
            log.info("leading, epoch %d, from %s", self._lease.epoch, reign.progress.position)
            while not stopping.is_set():
                try:
                    is_idle = await self._round(reign)
                except StoreError as error:
                    if error.kind == "conflict":
                        raise LeaseLostError from None
                    self._warn("the store fails: %s", error)
                    await _pause(stopping, STORE_PAUSE_S)
                    continue
                if is_idle:
                    await _pause(stopping, IDLE_S)
            await self._save(reign)
        finally:
            ending.set()
            await renewing
            with contextlib.suppress(StoreError):
                await self._lease.give_back()

    def _warn(self, message: str, error: StoreError) -> None:
        """A store that is away fails every second: once in `WARNED_AGAIN_S` is enough."""
        now_s = time.monotonic()
        if now_s - self._warned_s.get(message, -WARNED_AGAIN_S) >= WARNED_AGAIN_S:
            self._warned_s[message] = now_s
            log.warning(message, error)

    async def _renew(self, ending: asyncio.Event) -> None:
        while True:
            await _pause(ending, self._pace.lease_s / 5)
            if ending.is_set():
                return
            with contextlib.suppress(StoreError):
                await self._lease.hold()

    async def _begin(self) -> _Reign:
        """Raises LeaseLostError when it took longer than the lease; ValueError for a snapshot
        that this version cannot read."""
        packed = await self._snapshots.load()
        if packed is None:
            return _Reign(self._create(), Progress(), self._pace)
        progress, graph = unpack_state(packed)
        linker = await asyncio.to_thread(self._restore, graph)
        linker.is_frozen = progress.is_frozen
        return _Reign(linker, progress, self._pace)

    # ── one round ────────────────────────────────────────────────────────────────────────────

    async def _round(self, reign: _Reign) -> bool:
        """True when there was nothing to do."""
        self._check_lease()
        if reign.has_unsaved_orders:  # the store failed between an order and its snapshot
            await self._hold_orders(reign)
        did_obey = await self._obey(reign)
        did_read = await self._read(reign)
        if reign.is_tick_due():
            await self._tick(reign)
        did_publish = await self._publish(reign)
        if reign.is_snapshot_due():
            await self._save(reign)
        return not (did_obey or did_read or did_publish)

    async def _obey(self, reign: _Reign) -> bool:
        """Orders hold, in a snapshot, before they are answered."""
        letters = await self._mailbox.letters.read_after(
            reign.progress.commands, most=LETTERS_AT_ONCE
        )
        if not letters:
            return False
        now_us = self._clock.now_us()
        answers = []
        for position, packed in letters:
            reign.progress.commands = position
            letter = read_letter(packed)
            if letter is None or self._is_void(letter, now_us):
                continue
            answer = obey(reign.linker, reign.progress, letter)
            answers.append((letter, answer))
            if letter.action in ACTIONS and ACTIONS[letter.action].changes:
                reign.has_unsaved_orders = True
        if reign.has_unsaved_orders:
            await self._hold_orders(reign)
        for letter, answer in answers:
            await self._mailbox.answer(letter, answer)
        await self._mailbox.letters.forget_up_to(reign.progress.commands)
        return True

    async def _hold_orders(self, reign: _Reign) -> None:
        await self._tick(reign)
        await self._save(reign)
        reign.has_unsaved_orders = False

    @staticmethod
    def _is_void(letter: Letter, now_us: int) -> bool:
        action = ACTIONS.get(letter.action)
        return (action is None or not action.changes) and letter.until_us < now_us

    async def _read(self, reign: _Reign) -> bool:
        messages = await self._evidence.read_after(reign.progress.position, most=READ_AT_ONCE)
        for position, packed in messages:
            for evidence in reign.progress.take(position, packed):
                reign.linker.observe(evidence)
        return bool(messages)

    async def _tick(self, reign: _Reign) -> None:
        """In a thread: it may take long, and the lease must be renewed meanwhile."""
        found = await asyncio.to_thread(reign.linker.tick, self._clock.now_us())
        reign.progress.await_publication(found)
        if any(one.cluster_id not in reign.saved_ids for one in found if one.cluster_id):
            reign.save_early()
        reign.ticked()
        await self._tell(reign)

    async def _publish(self, reign: _Reign) -> bool:
        due = reign.progress.due(PUBLISH_AT_ONCE, reign.saved_ids)
        if not due:
            return False
        self._check_lease()
        outcomes = await self._relinker.publish(due)
        for publication, outcome in zip(due, outcomes, strict=True):
            if outcome is not Written.BUSY:
                reign.progress.published(publication)
        return True

    async def _save(self, reign: _Reign) -> None:
        self._check_lease()
        began_s = time.monotonic()
        state = await asyncio.to_thread(pack_state, reign.progress, reign.linker)
        await self._snapshots.save(state, self._lease)
        ids = {view.cluster_id for view in reign.linker.clusters()}
        reign.saved(ids, took_s=time.monotonic() - began_s)
        await self._evidence.forget_up_to(reign.progress.position)
        await self._tell(reign)

    async def _tell(self, reign: _Reign) -> None:
        progress = reign.progress
        clusters, accounts = await asyncio.to_thread(_count, reign.linker)
        status = LinkerStatus(
            at_us=self._clock.now_us(),
            leader=self._leader,
            epoch=self._lease.epoch,
            position=progress.position,
            is_frozen=progress.is_frozen,
            clusters=clusters,
            accounts=accounts,
            pairs=progress.pairs,
            repeats=progress.repeats,
            lost=progress.lost,
            unpublished=len(progress.unpublished),
        )
        await self._board.write(status)

    def _check_lease(self) -> None:
        if not self._lease.is_held:
            raise LeaseLostError


class _Reign:
    """What one leader holds between taking the lease and giving it back."""

    def __init__(self, linker: Linker, progress: Progress, pace: Pace) -> None:
        self.linker = linker
        self.progress = progress
        self.saved_ids = {view.cluster_id for view in linker.clusters()}
        self.has_unsaved_orders = False
        self._pace = pace
        self._next_tick_s = time.monotonic()
        self._saved_s = self._rest_s = 0.0
        self._next_snapshot_s = time.monotonic() + pace.snapshot_s

    def is_tick_due(self) -> bool:
        return time.monotonic() >= self._next_tick_s

    def ticked(self) -> None:
        """The pause counts from the end of a tick, so that slow ticks leave time to read."""
        self._next_tick_s = time.monotonic() + self._pace.tick_s

    def is_snapshot_due(self) -> bool:
        return time.monotonic() >= self._next_snapshot_s

    def save_early(self) -> None:
        """There is a cluster that no snapshot knows: its members wait for one."""
        at_s = self._saved_s + max(min(EARLY_S, self._pace.snapshot_s), self._rest_s)
        self._next_snapshot_s = min(self._next_snapshot_s, at_s)

    def saved(self, ids: set[str], *, took_s: float) -> None:
        """The next one waits so long that they all take no more than `MOST_SAVING` of the time,
        however large the graph is; evidence behind it stays in the stream meanwhile."""
        self.saved_ids = ids
        self._saved_s = time.monotonic()
        self._rest_s = took_s * (1 / MOST_SAVING - 1)
        self._next_snapshot_s = self._saved_s + max(self._pace.snapshot_s, self._rest_s)


def _count(linker: Linker) -> tuple[dict[str, int], dict[str, int]]:
    """(clusters, accounts in clusters) by state."""
    clusters, accounts = dict.fromkeys(STATES, 0), dict.fromkeys(STATES, 0)
    for view in linker.clusters():
        clusters[view.state] = clusters.get(view.state, 0) + 1
        accounts[view.state] = accounts.get(view.state, 0) + len(view.accounts)
    return clusters, accounts


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
