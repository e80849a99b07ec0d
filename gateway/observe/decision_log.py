"""The decision log's writer: lines from the loop into a bounded buffer, files from a thread.

A full disk or a slow one costs lines, which are counted, and never a request. One file per
worker, rotated by size and age, compressed after rotation, kept by count.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import shutil
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, Protocol

from ..core.keyed import KeyedHash
from ..model import Exchange, Policy
from .log_line import LineEncoder
from .metrics import WorkerMetrics
from .process_log import Occasionally

MAX_BUFFERED_BYTES = 32 * 1024 * 1024
FLUSH_EVERY_S = 0.25
CLOSE_TIMEOUT_S = 5.0


class Rotation(Protocol):
    """What an operator sets of the log."""

    @property
    def max_bytes(self) -> int: ...
    @property
    def max_age_s(self) -> float: ...
    @property
    def keep(self) -> int: ...


class PolicySource(Protocol):
    @property
    def current(self) -> Policy: ...


class DecisionLog:
    """A `Recorder` that writes; `written` and `dropped` count lines."""

    def __init__(
        self,
        folder: Path,
        *,
        worker: int,
        policies: PolicySource,
        keyed: KeyedHash,
        rotation: Rotation,
    ) -> None:
        self.written = 0
        self.dropped = 0
        self._policies = policies
        self._encoder = LineEncoder(keyed)
        self._lines: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closing = False
        self._file = RotatingFile(folder, f"decisions-{worker}", rotation)
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
        """Write what is buffered and stop."""
        self._is_closing = True
        self._wake.set()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(FLUSH_EVERY_S)
            self._flush()
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, deque()
            self._buffered_bytes = 0
        if not lines:
            self._file.rotate_by_age()
            return
        try:
            self._file.write(b"".join(lines))
            self.written += len(lines)
        except OSError as error:
            self.dropped += len(lines)
            self._complaint.warn(f"the decision log cannot be written: {error.strerror or error}")


class RotatingFile:
    """`<name>.jsonl` being written, `<name>.<unix seconds>.jsonl.gz` behind it."""

    def __init__(self, folder: Path, name: str, rotation: Rotation) -> None:
        self._folder = folder
        self._name = name
        self._rotation = rotation
        self._file: IO[bytes] | None = None
        self._size = 0
        self._opened_s = 0.0

    def write(self, data: bytes) -> None:
        """Raises OSError; what was written by then may end in a partial line, which the next
        write closes."""
        file = self._file or self._open()
        try:
            file.write(data)
            file.flush()
        except OSError:
            self.close()
            raise
        self._size += len(data)
        if self._size >= self._rotation.max_bytes:
            self._rotate()

    def rotate_by_age(self) -> None:
        if self._file is None or not self._size:
            return
        if time.time() - self._opened_s >= self._rotation.max_age_s:
            with contextlib.suppress(OSError):
                self._rotate()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._name}.jsonl"

    def _open(self) -> IO[bytes]:
        file = self._path.open("ab", buffering=0)
        self._size = file.tell()
        if self._size and not _ends_in_newline(self._path):
            file.write(b"\n")
        self._opened_s = time.time()
        self._file = file
        return file

    def _rotate(self) -> None:
        self.close()
        newest = max((int(path.name.split(".")[1]) for path in self._rotated()), default=0)
        stamp = max(int(time.time() * 1000), newest + 1)  # names sort as the files were made
        packed = self._folder / f"{self._name}.{stamp}.jsonl.gz"
        rotated = packed.with_suffix("")
        self._path.rename(rotated)
        with rotated.open("rb") as source, gzip.open(packed, "wb", compresslevel=3) as target:
            shutil.copyfileobj(source, target)
        rotated.unlink()
        for old in self._rotated()[: -self._rotation.keep]:
            old.unlink()

    def _rotated(self) -> list[Path]:
        return sorted(
            path
            for path in self._folder.glob(f"{self._name}.*.jsonl.gz")
            if path.name.split(".")[1].isdigit()
        )


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
