"""The decision log's writer: lines from the loop into a bounded buffer, files from a thread.

A full disk or a slow one costs lines, which are counted, and never a request. One file per
worker, rotated by size and age, packed after rotation, kept by count.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import zstandard

from ..core.keyed import KeyedHash
from ..model import Exchange, Policy
from .counters import WorkerMetrics
from .log_archive import Archive
from .log_line import LineEncoder
from .process_log import Occasionally
from .rotating_file import RotatingFile, Rotation

__all__ = ["DecisionLog", "PolicySource", "Rotation"]

MAX_BUFFERED_BYTES = 32 * 1024 * 1024
BATCH_BYTES = 256 * 1024
FLUSH_EVERY_S = 0.25
PACK_PAUSE_S = 0.02  # 1 MiB each: 50 MiB/s at most, so that packing takes no core for long
CLOSE_TIMEOUT_S = 5.0


class PolicySource(Protocol):
    @property
    def current(self) -> Policy: ...


class DecisionLog:
    """A `Recorder` that writes; `written` and `dropped` count lines."""

    def __init__(
        self,
        folder: Path,
        *,
        worker: int | str,
        policies: PolicySource,
        keyed: KeyedHash,
        rotation: Rotation,
    ) -> None:
        self.written = 0
        self.dropped = 0
        self._policies = policies
        self._encoder = LineEncoder(keyed)
        self._lines: deque[bytes] = deque()
        self._buffered_bytes = 0  # until written, so that a slow disk does not double it
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closing = False
        name = f"decisions-{worker}"
        self._archive = Archive(folder, name, keep=rotation.keep)
        self._file = RotatingFile(folder / f"{name}.jsonl", rotation, self._archive, time.time)
        self._complaint = Occasionally(logging.getLogger("hydragate.log"))
        self._thread = threading.Thread(target=self._run, name="decision-log", daemon=True)
        self._thread.start()

    def record(self, exchange: Exchange) -> None:
        """Never blocks and never raises for what the disk does."""
        line = self._encoder.encode(exchange, self._policies.current)
        with self._lock:
            if self._buffered_bytes + len(line) > MAX_BUFFERED_BYTES:
                self.dropped += 1
                return
            self._lines.append(line)
            self._buffered_bytes += len(line)

    def report(self, metrics: WorkerMetrics) -> None:
        metrics.set_counter("hydragate_log_lines_total", self.written, ("written",))
        metrics.set_counter("hydragate_log_lines_total", self.dropped, ("dropped",))

    def close(self) -> None:
        """Write what is buffered and stop; what is not packed yet waits for the next start."""
        self._is_closing = True
        self._wake.set()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(PACK_PAUSE_S if self._pack() else FLUSH_EVERY_S)
            self._flush()
        self._flush()
        self._archive.close()
        self._file.close()

    def _flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, deque()
        for batch in _batches(lines):
            self._write(batch)
        self._rotate()

    def _write(self, batch: list[bytes]) -> None:
        data, is_written = b"".join(batch), True
        try:
            self._file.write(data)
        except OSError as error:
            is_written = False
            self._complaint.warn(f"the decision log cannot be written: {error.strerror or error}")
        with self._lock:
            self._buffered_bytes -= len(data)
            self.written += len(batch) if is_written else 0
            self.dropped += 0 if is_written else len(batch)
        self._rotate()

    def _rotate(self) -> None:
        try:
            self._file.rotate_if_due()
        except OSError as error:
            self._complaint.warn(f"the decision log cannot be rotated: {error.strerror or error}")

    def _pack(self) -> bool:
        """One piece; True while there is more to pack now."""
        try:
            return self._archive.step()
        except (OSError, zstandard.ZstdError) as error:
            reason = getattr(error, "strerror", None) or error
            self._complaint.warn(f"a rotated decision log stays unpacked for now: {reason}")
            return False


def _batches(lines: deque[bytes]) -> Iterator[list[bytes]]:
    """Lists of whole lines, each of `BATCH_BYTES` and at most one line more."""
    batch, size = [], 0
    while lines:
        line = lines.popleft()
        batch.append(line)
        size += len(line)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
