"""Finding decisions in the log's files, plain or packed, newest first, while they are written."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import orjson
import zstandard

from ..errors import UsageError
from .ids import id_time_us
from .zstd_file import ZstdFile

_LOG_FILE = re.compile(r"(decisions-.+\.jsonl)(?:\.gz|\.zst)?")
_WORKER = re.compile(r"(decisions-[^.]+)\.(?:(\d+)\.)?jsonl")
_PACKED = (".zst", ".gz")
READ_BYTES = 1 << 20
COARSE_S = 1.0  # by which a file's time may be behind: kernels look at the clock now and then


def log_files(folder: Path) -> list[Path]:
    """Newest first; a file whose packed form stands beside it comes once."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("decisions-*.jsonl*")):  # the packed form behind the plain one
        name = _LOG_FILE.fullmatch(path.name)
        if name is not None and path.is_file():
            found[name[1]] = path
    return sorted(found.values(), key=_modified_s, reverse=True)


def files_by_worker(source: Path) -> list[list[Path]]:
    """A file, or those of a folder: one list a worker, oldest first. Raises UsageError where there
    is no log."""
    if source.is_file():
        return [[source]]
    rows: dict[str, list[tuple[int, str, Path]]] = {}
    for path in log_files(source):
        name = _WORKER.match(path.name)
        worker, rotated_ms = (name[1], int(name[2] or 1 << 62)) if name else (path.name, 0)
        rows.setdefault(worker, []).append((rotated_ms, path.name, path))
    if not rows:
        raise UsageError(f"{source}: holds no decision log (decisions-*.jsonl)")
    return [[path for _, _, path in sorted(row)] for _, row in sorted(rows.items())]


def read_lines(path: Path, on_break: Callable[[str], None] | None = None) -> Iterator[bytes]:
    """Whole lines; a partial last one (a crash, a write under way) is left out. Nothing for a file
    that is gone. What follows a damaged place of an archive is lost, and `on_break` told why."""
    with contextlib.ExitStack() as opened:
        try:
            for line in opened.enter_context(_open(path)):
                if line.endswith(b"\n"):
                    yield line
        except FileNotFoundError:
            return
        except (EOFError, OSError, zlib.error, zstandard.ZstdError) as error:
            if on_break is not None:
                on_break(f"the archive is broken here: {error}")


def _open(path: Path) -> IO[bytes]:
    """The file's lines, or those of its packed form where it was packed meanwhile."""
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return io.BufferedReader(ZstdFile(path.open("rb")), READ_BYTES)
    try:
        return path.open("rb")
    except FileNotFoundError:
        return _open(path.with_name(path.name + ".zst"))


def find_decision(folder: Path, decision_id: str) -> dict[str, Any] | None:
    """The line of a decision; None when it is not, or no longer, in the log."""
    if id_time_us(decision_id) is None:
        return None
    seen: set[str] = set()
    found, files = None, log_files(folder)
    while files and found is None:
        found = find_among(files, decision_id)
        seen |= {_name(path) for path in files}
        # What was being written may have been rotated before its turn came.
        files = [path for path in log_files(folder) if _name(path) not in seen]
    return found


def find_among(files: list[Path], decision_id: str) -> dict[str, Any] | None:
    """The line of a decision in one of these files; raises nothing for those that are gone."""
    made_us = id_time_us(decision_id) or 0
    for path in files:
        if _modified_s(path) + COARSE_S < made_us / 1e6:
            continue  # its last line was written before this decision was made
        found = _find_in(path, decision_id)
        if found is not None:
            return found
    return None


def _find_in(path: Path, decision_id: str) -> dict[str, Any] | None:
    wanted = b'"id":"' + decision_id.encode() + b'"'
    for line in read_lines(path):
        if wanted in line:
            parsed = _parse(line)
            if parsed is not None and parsed.get("id") == decision_id:
                return parsed
    return None


def read_decisions(folder: Path) -> Iterator[dict[str, Any]]:
    """Every line of every file, file by file, newest file first; broken lines are left out."""
    for path in log_files(folder):
        for line in read_lines(path):
            parsed = _parse(line)
            if parsed is not None:
                yield parsed


def _name(path: Path) -> str:
    """Without what packing appends, so that a file packed meanwhile is not read twice."""
    return path.name.removesuffix(path.suffix) if path.suffix in _PACKED else path.name


def _modified_s(path: Path) -> float:
    """Infinity for a file that was packed meanwhile: whatever it held, it may be looked for."""
    try:
        return path.stat().st_mtime
    except OSError:
        return float("inf")


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None
