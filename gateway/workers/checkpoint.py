"""Everything that a replay knows at one line, so that it can go on from there.

Law: a replay that was interrupted at any point and resumed leaves the same `decisions.jsonl.gz`
and `clusters.jsonl`, to the byte, as one that was not. A checkpoint is whole or absent: it is
written beside, synced and renamed. It is data, not code: reading one runs nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from .. import __version__
from ..core.estimate import EstimatorState
from ..engine import Ending
from ..errors import UsageError
from ..model import RequestFacts
from ..stores.memory import MemoryStore
from ..stores.memory_state import MemoryState
from .replay import LINE_BITS, LINE_MASK, Pending, Replay, due_key
from .replay_summary import ReplaySummary
from .traffic import LoggedResponse, ReadReport

FORMAT = 5
MAX_STATE_BYTES = 1 << 36


class PendingState(msgspec.Struct, array_like=True):
    """An answer that is still under way."""

    due_us: int
    number: int
    ending: Ending
    ask: tuple[str, int] | None
    facts: RequestFacts | None
    response: bytes | None  # JSON


class ReplayState(msgspec.Struct):
    """One `Replay` and its memory store."""

    clock_us: int
    line_us: int
    tick_us: int
    summary: ReplaySummary
    pending: list[PendingState]
    keys_of: dict[str, int]
    estimates: EstimatorState
    store: MemoryState
    hook: bytes | None
    callers: list[tuple[str, bytes, bytes]] = []  # what each has asked lately, for task scores


class Checkpoint(msgspec.Struct):
    """A run at one line. `taken`: lines read from the feed, `held` those that still wait in the
    window for their turn; of the output `offset` bytes are in the file, `lines` and `waiting`
    not yet."""

    format: int
    identity: dict[str, Any]
    taken: int
    held: list[tuple[int, bytes]]
    events_applied: int
    reads: ReadReport
    accounts: tuple[int, int]  # imported, bad
    wall_s: float
    offset: int
    next_line: int
    lines: list[bytes]
    waiting: dict[int, bytes]
    replay: ReplayState


def state_of(replay: Replay, store: MemoryStore) -> ReplayState:
    tasks = replay.engine.tasks
    return ReplayState(
        replay.clock.us,
        replay.line_us,
        replay.tick_us,
        replay.summary,
        [_pending_state(key, replay.pending[key & LINE_MASK]) for key in replay.due],
        replay.keys_of,
        replay.engine.estimator.snapshot(),
        store.snapshot(),
        None if replay.hook is None else replay.hook.snapshot(),
        [] if tasks is None else tasks.features.recurrence.snapshot(),
    )


def restore(replay: Replay, store: MemoryStore, state: ReplayState) -> None:
    """Make a fresh `replay` on a fresh `store` what the state says."""
    store.restore(state.store)
    replay.clock.us, replay.line_us = state.clock_us, state.line_us
    replay.tick_us = state.tick_us
    replay.summary = state.summary
    replay.keys_of = state.keys_of
    for credential, (account_id, key_id) in state.store.owners.items():
        if key_id is not None:
            replay.know_keys(account_id, [(credential, key_id)])
    for due in state.pending:
        replay.due.append(due_key(due.due_us, due.number))  # in the order of a heap already
        replay.pending[due.number] = _pending(due)
    replay.engine.estimator.restore(state.estimates)
    if replay.engine.tasks is not None:
        replay.engine.tasks.features.recurrence.restore(state.callers)
    if replay.hook is not None and state.hook is not None:
        replay.hook.restore(state.hook)


def _pending_state(key: int, pending: Pending) -> PendingState:
    ending, ask, facts, response = pending
    packed = None if response is None else msgspec.json.encode(response)
    return PendingState(key >> LINE_BITS, key & LINE_MASK, ending, ask, facts, packed)


def _pending(state: PendingState) -> Pending:
    response = None
    if state.response is not None:
        response = msgspec.json.decode(state.response, type=LoggedResponse)
    return state.ending, state.ask, state.facts, response


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the file at `path`, or leave it as it was."""
    part = path.with_name(path.name + ".part")
    packed = zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(checkpoint))
    with part.open("wb") as file:
        file.write(packed)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load(path: Path, identity: dict[str, Any]) -> Checkpoint:
    """Raises UsageError where there is none, it cannot be read, or it is of another run."""
    try:
        packed = path.read_bytes()
    except OSError:
        raise UsageError(
            f"{path.parent}: nothing to resume: it holds no checkpoint; run without --resume"
        ) from None
    try:
        data = zstandard.ZstdDecompressor().decompress(packed, MAX_STATE_BYTES)
        found = msgspec.msgpack.decode(data, type=Checkpoint)
    except (zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise UsageError(
            f"{path}: no checkpoint of hydragate {__version__} ({error}); run without --resume"
        ) from None
    differing = sorted(
        name
        for name in identity.keys() | found.identity.keys()
        if identity.get(name) != found.identity.get(name)
    )
    if differing:
        raise UsageError(
            f"{path}: that run had another {', '.join(differing)}; give it the same again, or "
            "run without --resume"
        )
    return found
