"""Finding decisions in the log's files, plain or packed, newest first."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import orjson

from .ids import id_time_us


def log_files(folder: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in folder.glob("decisions-*.jsonl*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def read_lines(path: Path) -> Iterator[bytes]:
    """Whole lines; a partial last one (a crash, a write under way) is left out."""
    with _open(path) as lines:
        try:
            for line in lines:
                if line.endswith(b"\n"):
                    yield line
        except (EOFError, OSError, zlib.error):
            return


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def find_decision(folder: Path, decision_id: str) -> dict[str, Any] | None:
    """The line of a decision; None when it is not, or no longer, in the log."""
    made_us = id_time_us(decision_id)
    if made_us is None:
        return None
    wanted = b'"id":"' + decision_id.encode() + b'"'
    for path in log_files(folder):
        if path.stat().st_mtime < made_us / 1e6:
            continue  # its last line was written before this decision was made
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


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, dict) else None
