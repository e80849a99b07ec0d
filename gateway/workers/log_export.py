"""The decision log as one Parquet file, in bounded memory, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UsageError
from ..observe.log_reader import files_by_worker, read_lines
from .log_columns import SCHEMA, row_of
from .traffic import ReadReport

ROWS_AT_ONCE = 16_384  # some 100 MB while they are turned into columns
PART_SUFFIX = ".part"
_WRONG = (KeyError, TypeError, ValueError, OverflowError, pa.ArrowException)

Located = tuple[Path, int, dict[str, Any]]
"""A row, and the file and line that it was."""


@dataclass(slots=True)
class Export:
    """What an export came to. `report` counts every line that was read, also outside the span."""

    rows: int = 0
    report: ReadReport = field(default_factory=ReadReport)


def export_log(
    source: Path,
    target: Path,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Export:
    """Write the requests that came in from `since_us` on and before `until_us` to a new `target`,
    worker by worker, in the order in which their exchanges ended. Bad lines cost no other.

    Raises UsageError where there is no log, and where `target` exists or cannot be made.
    """
    files = [path for row in files_by_worker(source) for path in row]
    if target.exists():
        raise UsageError(f"{target}: is there already")
    export = Export()
    rows = _rows(files, export.report, since_us or 0, until_us)
    part = target.with_name(target.name + PART_SUFFIX)
    try:
        with pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
            while batch := list(islice(rows, ROWS_AT_ONCE)):
                table = _table(batch, export.report)
                writer.write_table(table)
                export.rows += table.num_rows
                if on_progress is not None:
                    on_progress(export.rows)
        part.replace(target)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
    return export


def _rows(
    files: list[Path], report: ReadReport, since_us: int, until_us: int | None
) -> Iterator[Located]:
    for path in files:
        if _is_over_before(path, since_us):
            continue
        told = partial(report.complain_of_cut, str(path), 0)
        for number, raw in enumerate(read_lines(path, told), 1):
            report.lines += 1
            try:
                line = orjson.loads(raw)
                ts_us = line["ts_us"]
                if ts_us < since_us or (until_us is not None and ts_us >= until_us):
                    continue
                row = row_of(line)
            except (*_WRONG, AttributeError) as error:
                report.complain(str(path), number, _said(error))
                continue
            yield path, number, row


def _is_over_before(path: Path, since_us: int) -> bool:
    """Whether its last line was written before; a file that has gone holds nothing either way."""
    try:
        return path.stat().st_mtime_ns < since_us * 1000
    except FileNotFoundError:
        return False


def _table(batch: list[Located], report: ReadReport) -> pa.Table:
    """All rows in one go; where one does not fit its columns, row by row, and it is left out."""
    try:
        return pa.Table.from_pylist([row for _, _, row in batch], schema=SCHEMA)
    except _WRONG:
        fitting = [row for path, number, row in batch if _fits(path, number, row, report)]
        return pa.Table.from_pylist(fitting, schema=SCHEMA)


def _fits(path: Path, number: int, row: dict[str, Any], report: ReadReport) -> bool:
    try:
        pa.Table.from_pylist([row], schema=SCHEMA)
    except _WRONG as error:
        report.complain(str(path), number, _said(error))
        return False
    return True


def _said(error: Exception) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else str(error)
