"""`decisions.jsonl.gz` into a tally: blocks of lines decoded at once, counted by columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from ...errors import UsageError
from .blocks import read_blocks
from .labels import STRANGERS, Group, LineLabel, read_line_labels
from .tally import VERDICT_CODES, Ints, Tally


class DecisionLine(msgspec.Struct, gc=False):
    """What the tally needs of a line; a line that the replay could not read has no `ts`."""

    ts: float | None
    account_id: str | None
    verdict: str | None
    would_be: str | None
    served: bool
    reason: str | None = None


def read_decisions(
    path: Path,
    tally: Tally,
    *,
    line_labels: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Count every line of `path`; returns how many were bad lines of the traffic log.

    Raises UsageError, with the line, for what is no decision.
    """
    decoder = msgspec.json.Decoder(DecisionLine)
    overrides = _Overrides(line_labels)
    number = bad = 0
    for block in read_blocks(path):
        try:
            lines = decoder.decode_lines(block)
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise _where(path, number, block, decoder) from None
        bad += _count(lines, number, tally, overrides, path)
        number += len(lines)
        if on_progress is not None:
            on_progress(number)
    tally.flush()
    return bad


def _count(
    lines: list[DecisionLine], before: int, tally: Tally, overrides: _Overrides, path: Path
) -> int:
    kept = [line for line in lines if line.ts is not None]
    numbers = np.arange(before + 1, before + 1 + len(lines))
    if len(kept) < len(lines):
        numbers = numbers[np.array([line.ts is not None for line in lines])]
    if not kept:
        return len(lines)
    reasons = {line.reason for line in kept}
    codes = {reason: tally.reason_code(reason) for reason in reasons}
    accounts = tally.codes_of([line.account_id or "" for line in kept])
    try:
        verdicts = [VERDICT_CODES[line.verdict] for line in kept]  # type: ignore[index]
        would_be = [VERDICT_CODES[line.would_be] for line in kept]  # type: ignore[index]
    except KeyError as error:
        raise UsageError(
            f"{path}: lines {before + 1} and after: no such verdict: {error}"
        ) from None
    tally.add_columns(
        bins=(np.array([line.ts for line in kept], np.float64) // tally.bin_s).astype(np.int64),
        accounts=accounts,
        groups=overrides.apply(numbers, tally.groups_of(accounts), tally),
        verdicts=np.array(verdicts, np.int8),
        would_be=np.array(would_be, np.int8),
        served=np.array([line.served for line in kept], bool),
        reasons=np.array([codes[line.reason] for line in kept], np.int64),
    )
    return len(lines) - len(kept)


class _Overrides:
    """Labels of lines, merged in as the lines come."""

    def __init__(self, path: Path | None) -> None:
        self._labels: Iterator[LineLabel] = iter(()) if path is None else read_line_labels(path)
        self._next = next(self._labels, None)

    def apply(self, numbers: Ints, groups: Ints, tally: Tally) -> Ints:
        """Groups of the lines `numbers`, ascending: where a line is labelled, its own."""
        if self._next is None or self._next.line > numbers[-1]:
            return groups
        lines: list[int] = []
        codes: list[int] = []
        while self._next is not None and self._next.line <= numbers[-1]:
            lines.append(self._next.line)
            codes.append(_group_of_line(self._next.campaign, tally))
            self._next = next(self._labels, None)
        at = np.searchsorted(numbers, lines)
        is_there = numbers[np.minimum(at, len(numbers) - 1)] == np.array(lines)
        mixed = np.array(codes)
        rows = at[is_there]
        changed = groups.copy()
        # A line without a campaign keeps an innocent account's class, and leaves a campaign's.
        own = np.array([group.is_campaign for group in tally.groups])[groups[rows]]
        strangers = tally.group_code(STRANGERS)
        replacement = np.where(mixed[is_there] >= 0, mixed[is_there], strangers)
        changed[rows] = np.where((mixed[is_there] >= 0) | own, replacement, groups[rows])
        return changed


def _group_of_line(campaign: str | None, tally: Tally) -> int:
    return -1 if campaign is None else tally.group_code(Group(campaign, True))


def _where(
    path: Path, before: int, block: bytes, decoder: msgspec.json.Decoder[DecisionLine]
) -> UsageError:
    for number, line in enumerate(block.splitlines(), before + 1):
        try:
            decoder.decode(line)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            return UsageError(f"{path}:{number}: no decision: {error}")
    return UsageError(f"{path}: lines {before + 1} and after: an empty line, or not JSON Lines")
