"""One file that is appended to, and set aside when it is full or old.

Law: a line is whole or not there. What the disk took of a write that failed is taken back.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from .ids import id_time_us
from .log_archive import Archive

_FIRST_ID = re.compile(rb'"id":"([0-9A-Z]{26})"')
_HEAD_BYTES = 64


class Rotation(Protocol):
    """What an operator sets of the log."""

    @property
    def max_bytes(self) -> int: ...
    @property
    def max_age_s(self) -> float: ...
    @property
    def keep(self) -> int: ...


class RotatingFile:
    """`<name>.jsonl`, handed to `archive` when it has `max_bytes` or its first line `max_age_s`.

    `clock` tells Unix seconds.
    """

    def __init__(
        self, path: Path, rotation: Rotation, archive: Archive, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._rotation = rotation
        self._archive = archive
        self._clock = clock
        self._file: IO[bytes] | None = None
        self._size = 0
        self._begun_s = 0.0

    def write(self, data: bytes) -> None:
        """Append all of `data` or, with OSError, nothing of it.

        On what cannot be shortened again (a device) a part may stay; the next write ends its line.
        """
        if self._file is not None and not self._is_in_place(self._file):
            self.close()
        file = self._file or self._open()
        try:
            _write_all(file, data)
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(self._size)
            self.close()
            raise
        self._size += len(data)

    def _is_in_place(self, file: IO[bytes]) -> bool:
        """Not so where another tool has moved, deleted or emptied it: who writes on would write
        where nobody looks, and who trusts the old size would fill the gap with zeros."""
        ours = os.fstat(file.fileno())
        try:
            there = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(ours, there) and (
            not stat.S_ISREG(ours.st_mode) or ours.st_size == self._size
        )

    def rotate_if_due(self) -> None:
        """Raises OSError when it cannot be set aside; then it goes on growing."""
        if self._file is None or not self._size:
            return
        is_old = self._clock() - self._begun_s >= self._rotation.max_age_s
        if is_old or self._size >= self._rotation.max_bytes:
            self.close()
            self._archive.add(self._path)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()

    def _open(self) -> IO[bytes]:
        with contextlib.ExitStack() as undo:
            file = undo.enter_context(self._path.open("ab", buffering=0))
            self._size = file.tell()
            self._begun_s = self._clock()
            if self._size:
                self._begun_s = _begun_s(self._path) or self._begun_s
                if not _ends_in_newline(self._path):
                    _write_all(file, b"\n")
                    self._size += 1
            undo.pop_all()
        self._file = file
        return file


def _write_all(file: IO[bytes], data: bytes) -> None:
    """A raw file may take less than it is given, and only says how much."""
    rest = memoryview(data)
    while rest:
        taken = file.write(rest)
        if not taken:
            raise BlockingIOError("the file takes nothing")
        rest = rest[taken:]


def _begun_s(path: Path) -> float | None:
    """Unix seconds of the first line, so that restarts do not keep a file young for ever."""
    with path.open("rb") as file:
        found = _FIRST_ID.search(file.read(_HEAD_BYTES))
    made_us = None if found is None else id_time_us(found[1].decode())
    return None if made_us is None else made_us / 1e6


def _ends_in_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
