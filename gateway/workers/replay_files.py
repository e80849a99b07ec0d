"""`hydragate replay`: a feed in; decisions, clusters and a summary out; resumable in between.

The order of one run: accounts, then lines with the account events between them, then what is
still in flight. Everything that a line changes is in a `Checkpoint`, so that a run may stop
between any two lines.
"""

from __future__ import annotations

import gc
from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import orjson

from ..adapters.geo import GeoHolder
from ..classifiers.load import load_cluster_model
from ..classifiers.reader import TaskReader
from ..core.keyed import KeyedHash
from ..engine import PolicySource
from ..errors import HydragateError, Problem
from ..stores.memory import MemoryStore
from .account_import import ImportReport
from .account_records import RecordError, RecordReader
from .checkpoint import FORMAT, Checkpoint, load, restore, save, state_of
from .cluster_behaviour import ReplayedBehaviour
from .decision_lines import BAD_LINE, DecisionLines, DecisionWriter
from .events import AccountEvent, parse_record, read_event, read_events
from .feeds import BrokenFeedError, Feed
from .reorder import ReorderWindow
from .replay import LINKER_LAG_US, REPLAY_SECRET, Replay, StoreAndDirectory
from .replay_hook import ReplayHook
from .replay_summary import peak_memory_bytes
from .traffic import LineReader, ReadReport, TrafficLine, instant_us

LOOK_UP_EVERY = 1_024  # lines between looks at the wall clock
PROGRESS_EVERY = 2_048
CHECKPOINT_EVERY_S = 60.0
CHECKPOINT_SHARE = 20  # a checkpoint that took a second is not repeated within 20
CHECKPOINT_NAME = "checkpoint"
GC_THRESHOLDS = (50_000, 50, 1_000)


@dataclass(slots=True)
class Stop:
    """Set from outside (a signal) to end a run at its next line."""

    is_asked: bool = False


class InterruptedReplayError(HydragateError):
    """The run was stopped; the message says how to go on."""


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """What to replay and how. `accounts` and `events` are (name, opener of lines)."""

    feed: Feed
    accounts: tuple[str, Callable[[], Iterable[bytes]]]
    events: tuple[str, Callable[[], Iterable[bytes]]] | None
    out: Path
    store: StoreAndDirectory
    policies: PolicySource
    identity: dict[str, Any] = field(default_factory=dict)  # of accounts and events
    reorder_us: int = 0
    lag_us: int = LINKER_LAG_US
    hook: ReplayHook | None = None
    tasks: TaskReader | None = None
    geo: GeoHolder | None = None
    keeps_windows: bool = False
    checkpoint_every_s: float = CHECKPOINT_EVERY_S
    is_resumable: bool = True  # whether the feed gives the same lines again


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What `hydragate replay` reports; `is_unusable` ends it with exit code 1."""

    summary: dict[str, Any]
    problems: list[Problem]
    is_unusable: bool


Held = tuple[int, bytes, TrafficLine]


class ReplayRun:
    """One run of a plan, from its beginning or, after `resume`, from its last checkpoint."""

    def __init__(self, plan: ReplayPlan, *, stop: Stop | None = None) -> None:
        self._plan = plan
        self._stop = stop or Stop()
        self.replay = Replay(
            plan.store,
            plan.policies,
            hook=plan.hook,
            lag_us=plan.lag_us,
            tasks=plan.tasks,
            geo=plan.geo,
            keeps_windows=plan.keeps_windows,
        )
        self._reader = RecordReader(KeyedHash(REPLAY_SECRET), geo=plan.geo)
        self._imports, self._reads = ImportReport(), ReadReport()
        self._encode = DecisionLines().encode
        self._window: ReorderWindow[Held] | None = None
        if plan.reorder_us:
            self._window = ReorderWindow(plan.reorder_us)
        self._taken = 0
        self._events: list[AccountEvent] = []
        self._events_applied = 0
        self._wall_s = 0.0
        self._started = self._saved_at = perf_counter()
        self._checkpoint_path = plan.out / CHECKPOINT_NAME
        self._writer: DecisionWriter | None = None

    async def run(
        self, *, resume: bool = False, on_progress: Callable[[int], None] | None = None
    ) -> ReplayResult:
        """Raises UsageError when a file cannot be opened or nothing can be resumed,
        InterruptedReplayError when it was told to stop."""
        kept = load(self._checkpoint_path, self._identity()) if resume else None
        if kept is None:
            self._checkpoint_path.unlink(missing_ok=True)
            with rare_collections():
                await self.add_accounts()
        self._read_events()
        writer = self._writer = DecisionWriter(
            self._plan.out / "decisions.jsonl.gz", offset=kept.offset if kept else 0
        )
        if kept is not None:
            self._continue_from(kept, writer)
        self.replay.expect_all()
        is_complete = False
        try:
            with rare_collections():
                await self._run(writer, on_progress)
            is_complete = True
        finally:
            writer.close(is_complete=is_complete)
        self._checkpoint_path.unlink(missing_ok=True)
        return self._result()

    # ── the lines ────────────────────────────────────────────────────────────────────────────

    async def _run(self, writer: DecisionWriter, on_progress: Callable[[int], None] | None) -> None:
        read = LineReader(self._plan.feed.name, self._reads).read
        decide = self._decide_in_window if self._window is not None else self._decide
        try:
            for raw in islice(self._plan.feed.lines(), self._taken, None):
                self._taken = number = self._taken + 1
                line = read(number, raw)
                if line is None:
                    writer.add(number, BAD_LINE)
                else:
                    await decide((number, raw, line), writer)
                if number % LOOK_UP_EVERY == 0:
                    self._look_up(writer)
                    if on_progress is not None and number % PROGRESS_EVERY == 0:
                        on_progress(number)
        except BrokenFeedError as error:
            self._reads.complain_of_cut(self._plan.feed.name, self._taken + 1, str(error))
        if self._window is not None:
            for held in self._window.drain():
                await self._decide(held, writer)
        await self._apply_events(None)
        await self.replay.drain()

    async def _decide_in_window(self, one: Held, writer: DecisionWriter) -> None:
        assert self._window is not None
        for due in self._window.add(instant_us(one[2].ts), one[0], one):
            await self._decide(due, writer)

    async def _decide(self, one: Held, writer: DecisionWriter) -> None:
        number, _, line = one
        replay, at_us = self.replay, instant_us(line.ts)
        if self._events_applied < len(self._events):
            await self._apply_events(at_us)
        if replay.line_us > at_us:
            self._reads.note_order(self._plan.feed.name, number, replay.line_us - at_us)
        decision = await replay.decide(number, line, at_us)
        writer.add(number, self._encode(line.ts, line.account_id, decision))

    def add_event(self, record: Mapping[str, Any]) -> None:
        """An account event that was not known before; of the same instant it comes after others.

        Raises RecordError.
        """
        event = read_event(dict(record), self._reader)
        insort(self._events, event, lo=self._events_applied, key=lambda one: one.ts_us)

    async def _apply_events(self, until_us: int | None) -> None:
        """Those due by then; None: all that are left."""
        while self._events_applied < len(self._events):
            event = self._events[self._events_applied]
            if until_us is not None and event.ts_us > until_us:
                return
            await self.replay.apply_event(event)
            self._events_applied += 1

    # ── before ───────────────────────────────────────────────────────────────────────────────

    async def add_accounts(self) -> None:
        name, lines = self._plan.accounts
        for number, line in enumerate(lines(), 1):
            try:
                record = parse_record(line)
                change = self._reader.read(record)
            except RecordError as error:
                self._imports.add(Problem(name, number, "", str(error)))
                continue
            key_ids = record.get("key_ids") if isinstance(record, dict) else None
            await self.replay.add_account(change, tuple(map(str, key_ids or ())))
            self._imports.imported += 1

    def _read_events(self) -> None:
        if self._plan.events is not None:
            name, lines = self._plan.events
            self._events = read_events(name, lines(), self._reader, self._imports)

    # ── stopping and going on ────────────────────────────────────────────────────────────────

    def _look_up(self, writer: DecisionWriter) -> None:
        now = perf_counter()
        if self._stop.is_asked:
            if not self._plan.is_resumable:
                raise InterruptedReplayError(f"stopped after {self._taken:,} exchanges")
            if not isinstance(self._plan.store, MemoryStore):
                raise InterruptedReplayError("stopped; a replay on a real store begins anew")
            self._save(writer)
            raise InterruptedReplayError(
                f"stopped after {self._taken:,} lines; the same command with --resume goes on"
            )
        if now < self._saved_at + self._plan.checkpoint_every_s:
            return
        if self._plan.is_resumable and isinstance(self._plan.store, MemoryStore):
            self._save(writer)
            took_s = perf_counter() - now
            self._saved_at = now + max(
                0.0, CHECKPOINT_SHARE * took_s - self._plan.checkpoint_every_s
            )

    def _save(self, writer: DecisionWriter) -> None:
        assert isinstance(self._plan.store, MemoryStore)
        writer.sync()
        held = [] if self._window is None else [(n, raw) for n, raw, _ in self._window.held()]
        save(
            self._checkpoint_path,
            Checkpoint(
                FORMAT,
                self._identity(),
                self._taken,
                held,
                self._events_applied,
                self._reads,
                (self._imports.imported, self._imports.bad),
                self._wall_s + perf_counter() - self._started,
                writer.offset,
                writer.next_line,
                writer.lines,
                writer.waiting,
                state_of(self.replay, self._plan.store),
            ),
        )

    def _continue_from(self, kept: Checkpoint, writer: DecisionWriter) -> None:
        plan = self._plan
        assert isinstance(plan.store, MemoryStore)
        restore(self.replay, plan.store, kept.replay)
        self._taken, self._events_applied = kept.taken, kept.events_applied
        self._reads, self._wall_s = kept.reads, kept.wall_s
        self._imports.imported, self._imports.bad = kept.accounts
        writer.next_line, writer.lines, writer.waiting = kept.next_line, kept.lines, kept.waiting
        again = LineReader(plan.feed.name, ReadReport())
        for number, raw in kept.held:
            line = again.read(number, raw)
            if line is not None and self._window is not None:
                self._window.hold(instant_us(line.ts), number, (number, raw, line))

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to be continued."""
        return {
            "traffic": self._plan.feed.identity(),
            "policy": self._plan.policies.current.revision,
            "reorder_us": self._plan.reorder_us,
            "lag_us": self._plan.lag_us,
            "model": None if self._plan.tasks is None else self._plan.tasks.version,
            "geo": None if self._plan.geo is None else self._plan.geo.identity(),
            "windows": self._plan.keeps_windows,
            "format": FORMAT,
            **self._plan.identity,
        }

    # ── after ────────────────────────────────────────────────────────────────────────────────

    def _result(self) -> ReplayResult:
        plan, reads, imports = self._plan, self._reads, self._imports
        self.replay.summary.wall_s = self._wall_s + perf_counter() - self._started
        summary = self.replay.summary.as_json(peak_memory_bytes())
        policy = plan.policies.current
        summary["policy"] = {"name": policy.name, "revision": policy.revision}
        summary["lines"] = {
            "read": reads.lines,
            "bad": reads.bad,
            "out_of_order": reads.out_of_order,
            "late": reads.late,
        }
        summary["accounts"] = {"imported": imports.imported, "bad": imports.bad}
        with (plan.out / "clusters.jsonl").open("wb") as file:
            for cluster in self._clusters():
                file.write(orjson.dumps(cluster, option=orjson.OPT_APPEND_NEWLINE))
        text = orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        (plan.out / "summary.json").write_bytes(text)
        return ReplayResult(summary, imports.problems + reads.problems, reads.is_unusable)

    def _clusters(self) -> Iterator[Mapping[str, Any]]:
        """With how their accounts behave, where windows are kept in memory."""
        plan = self._plan
        clusters = () if plan.hook is None else plan.hook.clusters()
        if not plan.keeps_windows or not isinstance(plan.store, MemoryStore):
            yield from clusters
            return
        behaviour = ReplayedBehaviour(plan.store, load_cluster_model(), self.replay.clock.us)
        for cluster in clusters:
            yield {**cluster, "behaviour": behaviour.of(cluster["accounts"])}


@contextmanager
def rare_collections() -> Iterator[None]:
    """Millions of accounts live through the whole run: looking through them for cycles at every
    turn costs a third of the time, and there are none."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
