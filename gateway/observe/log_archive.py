"""The rotated files of one log: packed piece by piece, kept by count.

Law: lines are in exactly one readable file at any moment. A rotated file stays as it is until its
packed form is whole and on the disk; what could not be packed counts like what could, and is tried
again.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import zstandard

# Measured on lines of 1.5 KB: level 1 takes 1.3 us a line and packs 12.6 to 1, level 3 takes 2.4 us
# for 13.1; gzip at its level 3 took 5.0 us for 8.8.
ZSTD_LEVEL = 1
PIECE_BYTES = 1024 * 1024
RETRY_S = 60.0
PART_SUFFIX = ".part"
_ROTATED = re.compile(r"\d{1,20}\.jsonl(?:\.gz|\.zst)?")


class Archive:
    """`<name>.<unix ms>.jsonl` as it was rotated, then `<name>.<unix ms>.jsonl.zst`.

    `.gz` is what an earlier version packed. `clock` tells seconds; only pauses are measured by it.
    """

    def __init__(
        self, folder: Path, name: str, *, keep: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder = folder
        self._name = name
        self._keep = keep
        self._clock = clock
        self._job: _Packing | None = None
        self._is_first = True
        self._unpacked: list[Path] = []  # oldest first; as many as are kept
        self._not_before_s = 0.0

    def add(self, path: Path) -> None:
        """Take over a file that nobody writes any more. Raises OSError when it cannot be moved."""
        newest = max((stamp_of(file) for file in self._files()), default=0)
        stamp = max(int(self._clock() * 1000), newest + 1)  # names sort as the files were made
        path.rename(self._folder / f"{self._name}.{stamp}.jsonl")
        self._look()

    def step(self) -> bool:
        """Pack one piece; True while there is more to pack now.

        Raises OSError or ZstdError when a file cannot be packed; it is tried again after a minute.
        """
        if self._is_first:
            self._clear_up()
        if self._job is None and (not self._unpacked or self._clock() < self._not_before_s):
            return False
        try:
            job = self._job = self._job or _Packing(self._unpacked[0])
            if not job.step():
                return True
        except FileNotFoundError:
            pass  # somebody removed it
        except (OSError, zstandard.ZstdError):
            self._not_before_s = self._clock() + RETRY_S
            self._unpacked.append(self._unpacked.pop(0))  # it may be this one's own trouble
            self.close()
            raise
        self._job = None
        self._look()
        return bool(self._unpacked)

    def close(self) -> None:
        """Give up what is being packed; the plain file stays, and the next start packs it."""
        job, self._job = self._job, None
        if job is not None:
            job.abandon()

    def _clear_up(self) -> None:
        self._is_first = False
        for path in self._folder.glob(f"{self._name}.*{PART_SUFFIX}"):
            with contextlib.suppress(OSError):
                path.unlink()
        self._look()

    def _look(self) -> None:
        """Delete what is beyond `keep`, and note what is still to be packed."""
        files = self._files()
        stamps = sorted({stamp_of(file) for file in files})
        old = set(stamps[: -self._keep])
        packed = {stamp_of(file) for file in files if file.suffix != ".jsonl"}
        self._unpacked = []
        for file in sorted(files, key=stamp_of):
            is_double = file.suffix == ".jsonl" and stamp_of(file) in packed
            if is_double or stamp_of(file) in old:
                with contextlib.suppress(OSError):
                    file.unlink()
            elif file.suffix == ".jsonl":
                self._unpacked.append(file)

    def _files(self) -> list[Path]:
        return rotated_files(self._folder, self._name)


class _Packing:
    """One file on its way into its packed form, `PIECE_BYTES` a step."""

    def __init__(self, source: Path) -> None:
        self._path = source
        self._part = source.with_name(source.name + ".zst" + PART_SUFFIX)
        with contextlib.ExitStack() as undo:
            self._source = undo.enter_context(source.open("rb"))
            self._target = undo.enter_context(self._part.open("wb"))
            undo.pop_all()
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        self._stream = compressor.compressobj()

    def step(self) -> bool:
        """True once the packed form stands in place of the plain one."""
        piece = self._source.read(PIECE_BYTES)
        if piece:
            self._target.write(self._stream.compress(piece))
            return False
        self._target.write(self._stream.flush())
        self._target.flush()
        os.fsync(self._target.fileno())
        self._finish()
        return True

    def _finish(self) -> None:
        written = os.fstat(self._source.fileno())
        self._source.close()
        self._target.close()
        os.utime(self._part, ns=(written.st_atime_ns, written.st_mtime_ns))  # readers go by it
        self._part.replace(self._part.with_suffix(""))
        self._path.unlink(missing_ok=True)

    def abandon(self) -> None:
        self._source.close()
        with contextlib.suppress(OSError):  # closing writes what is buffered
            self._target.close()
        with contextlib.suppress(OSError):
            self._part.unlink()


def rotated_files(folder: Path, name: str) -> list[Path]:
    """Plain and packed, in no order."""
    skip = len(name) + 1
    return [
        file for file in folder.glob(f"{name}.*.jsonl*") if _ROTATED.fullmatch(file.name[skip:])
    ]


def stamp_of(file: Path) -> int:
    """Unix milliseconds of a rotated file's name."""
    return int(re.findall(r"\.(\d{1,20})\.jsonl", file.name)[-1])
