"""A file of accounts v1 into the store: changes in order, and a report of what could not be used.

A bad record is reported with its line and costs no other record.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import orjson

from ..errors import Problem, UsageError
from ..model import Status, Subject
from ..ports import Directory
from .account_changes import AccountChange
from .account_records import MAX_UNKNOWN, RecordError, RecordReader

MAX_LINE_BYTES = 1_000_000
MAX_PROBLEMS = 1_000
BATCH = 128


@dataclass(slots=True)
class ImportReport:
    """What an import did; `problems` is cut at `MAX_PROBLEMS`, `bad` counts them all, and `usable`
    the records of a file that are not."""

    imported: int = 0
    removed: int = 0
    bad: int = 0
    usable: int = 0
    problems: list[Problem] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    @property
    def is_all_bad(self) -> bool:
        """Not so where there was no record at all."""
        return self.bad > 0 and self.usable == 0

    def add(self, problem: Problem) -> None:
        self.bad += 1
        self._show(problem)

    def note_doubts(self, source: str, number: int, doubts: Iterable[tuple[str, str]]) -> None:
        """What has no effect, such as a field that no version knew; said once, for it may be
        misspelt."""
        for name, text in doubts:
            if name not in self.unknown and len(self.unknown) < MAX_UNKNOWN:
                self.unknown.add(name)
                self._show(Problem(source, number, "", text, is_warning=True))

    def note_move(self, change: AccountChange, key_id: str, former: str) -> None:
        """A key changes hands: meant perhaps, but then one account no longer has it."""
        text = f"{key_id} was {former}'s, and is {change.account_id}'s from now on"
        self._show(Problem(change.source, change.line, "keys", text, is_warning=True))

    def _show(self, problem: Problem) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def read_records(path: Path) -> Iterator[tuple[int, object | None]]:
    """(line number, record) of a JSON Lines file; None where the line is no JSON.

    Raises UsageError when the file cannot be read.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _parsed(line)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _parsed(line: bytes) -> object | None:
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        parsed: object = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return parsed


def read_changes(path: Path, reader: RecordReader, report: ImportReport) -> Iterator[AccountChange]:
    """Every usable record of the file; the others go into `report`."""
    for number, record in read_records(path):
        try:
            if record is None:
                raise RecordError(f"no JSON object, or over {MAX_LINE_BYTES} bytes")
            change = replace(reader.read(record), source=str(path), line=number)
        except RecordError as error:
            report.add(Problem(str(path), number, "", str(error)))
        else:
            report.usable += 1
            report.note_doubts(str(path), number, reader.doubts(record))
            yield change


async def import_accounts(
    changes: Iterable[AccountChange],
    directory: Directory,
    report: ImportReport,
    *,
    is_whole: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Write the changes; with `is_whole`, imported accounts that no record names are removed
    (adopted ones stay). Records apply in order; those of one account, or of one key, never
    overtake each other.
    """
    named: set[str] = set()
    batch: dict[str, Awaitable[None]] = {}
    batch_keys: set[str] = set()

    async def flush() -> None:
        pending = list(batch.values())
        batch.clear()
        batch_keys.clear()
        await asyncio.gather(*pending)
        if on_progress is not None:
            on_progress(report.imported)

    for change in changes:
        keys = change.credentials or {}
        if change.account_id in batch or len(batch) >= BATCH or not batch_keys.isdisjoint(keys):
            await flush()
        if is_whole:
            named.add(change.account_id)
        batch_keys.update(keys)
        batch[change.account_id] = _write(change, directory, report, is_whole=is_whole)
    await flush()
    if is_whole:
        await _remove_unnamed(named, directory, report)
    return report


async def _write(
    change: AccountChange, directory: Directory, report: ImportReport, *, is_whole: bool
) -> None:
    if change.is_removal:
        report.removed += await directory.remove(change.account_id)
        return
    stored = await directory.get(change.account_id)
    base = change.base_for_replacement(stored) if is_whole and stored is not None else stored
    on_move = partial(report.note_move, change)
    await directory.put(change.apply(base), change.credentials_for(stored), on_move=on_move)
    report.imported += 1


async def _remove_unnamed(named: set[str], directory: Directory, report: ImportReport) -> None:
    async for subject in _copy(directory.accounts()):
        if subject.account_id not in named and subject.status is not Status.ADOPTED:
            report.removed += await directory.remove(subject.account_id)


async def _copy(subjects: AsyncIterator[Subject]) -> AsyncIterator[Subject]:
    """Removing while scanning is safe with a copy: a scan may show an entry twice."""
    for subject in [s async for s in subjects]:
        yield subject
