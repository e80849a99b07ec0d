"""The logs of workers that are no more: with fewer `--workers`, nobody else packs or deletes them.

Law: a line is kept as long by fewer workers as by more. What a former worker wrote goes when the
workers that serve have deleted everything as old, not before.
"""

from __future__ import annotations

import re
from pathlib import Path

from .log_archive import Archive, rotated_files, stamp_of

_ANY = re.compile(r"decisions-(\d{1,4})\..+")


class LeftLogs:
    """Of the workers beyond `workers` in `folder`. To be called by one process only."""

    def __init__(self, folder: Path, *, workers: int, keep: int) -> None:
        self._folder = folder
        self._workers = workers
        self._keep = keep
        self._archives: dict[int, Archive] = {}

    def set_aside(self) -> int:
        """Take over what was being written, before any worker starts. Returns how many former
        workers left something. Raises OSError when a file cannot be moved."""
        for path in self._folder.iterdir():
            found = _ANY.fullmatch(path.name)
            if found is not None and int(found[1]) >= self._workers:
                self._archive(int(found[1]))
        for index, archive in self._archives.items():
            live = self._folder / f"decisions-{index}.jsonl"
            if live.is_file():
                archive.add(live)
        return len(self._archives)

    def step(self) -> bool:
        """Pack one piece; True while there is more to pack now. Raises as `Archive.step`."""
        return any(archive.step() for archive in self._archives.values())

    def forget_old(self) -> None:
        """Delete what is older than all that the serving workers keep, once they keep their
        fill. Raises OSError when a file cannot be deleted."""
        oldest = self._oldest_kept()
        if oldest is None:
            return
        for index in self._archives:
            for path in rotated_files(self._folder, f"decisions-{index}"):
                if stamp_of(path) < oldest:
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """What is not packed yet waits for the next start."""
        for archive in self._archives.values():
            archive.close()

    def _archive(self, index: int) -> Archive:
        if index not in self._archives:
            self._archives[index] = Archive(self._folder, f"decisions-{index}", keep=self._keep)
        return self._archives[index]

    def _oldest_kept(self) -> int | None:
        """Unix milliseconds; None while a serving worker has room for older files."""
        oldest = []
        for index in range(self._workers):
            stamps = {stamp_of(path) for path in rotated_files(self._folder, f"decisions-{index}")}
            if len(stamps) < self._keep:
                return None
            oldest.append(min(stamps))
        return min(oldest)
