"""`decisions.jsonl.gz`: one line a line of the log, in its order (CONTRACTS §4).

The file is a row of gzip members of a fixed number of lines, which every reader takes for one
archive. Where a member ends depends on the lines alone, so that a replay which was interrupted
and resumed leaves the same bytes as one that was not.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import orjson

from ..model import Decision

MEMBER_LINES = (
    2_048  # half a megabyte: what awaits packing should not push all else out of the cache
)
COMPRESS_LEVEL = 1  # these lines repeat so much that more effort gains a few per cent
MAX_KEPT_TAILS = 16_384
BAD_LINE = orjson.dumps(
    {
        "ts": None,
        "account_id": None,
        "verdict": None,
        "would_be": None,
        "served": False,
        "reason": "bad_line",
        "findings": [],
        "cluster_id": None,
        "suspicion": None,
        "degraded": False,
    },
    option=orjson.OPT_APPEND_NEWLINE,
)


class DecisionLines:
    """Encodes lines; what follows from the decision alone is kept, as there are few kinds."""

    def __init__(self) -> None:
        self._tails: dict[tuple[object, ...], bytes] = {}

    def encode(self, ts: float, account_id: str, decision: Decision) -> bytes:
        """One line, with its newline."""
        return b'{"ts":%b,"account_id":%b,%b' % (
            orjson.dumps(ts),
            orjson.dumps(account_id),
            self._tail_of(decision),
        )

    def _tail_of(self, decision: Decision) -> bytes:
        subject, findings = decision.subject, decision.findings
        key = (
            decision.verdict,
            decision.would_be,
            decision.reason,
            tuple([(f.rule, f.verdict, f.mode) for f in findings]) if findings else (),
            None if subject is None else subject.cluster_id,
            None if subject is None else subject.suspicion,
            decision.degraded,
        )
        tail = self._tails.get(key)
        if tail is None:
            if len(self._tails) >= MAX_KEPT_TAILS:
                self._tails.clear()
            tail = self._tails[key] = _tail(decision)
        return tail


def _tail(decision: Decision) -> bytes:
    subject = decision.subject
    fields = {
        "verdict": decision.verdict.text,
        "would_be": decision.would_be.text,
        "served": decision.is_served,
        "reason": decision.reason,
        "findings": [
            {"rule": f.rule, "verdict": f.verdict.text, "mode": f.mode.value}
            for f in decision.findings
        ],
        "cluster_id": subject.cluster_id if subject else None,
        "suspicion": subject.suspicion if subject else None,
        "degraded": decision.degraded,
    }
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)[1:]


class DecisionWriter:
    """Writes lines in their order, however they were decided.

    `offset`, `next_line`, `lines` and `waiting` are its whole state: what is in the file, which
    line comes next, what awaits a full member, what awaits an earlier line.
    """

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self._file = path.open("r+b" if offset else "wb")
        self._file.truncate(offset)
        self._file.seek(offset)
        self.offset = offset
        self.next_line = 1
        self.lines: list[bytes] = []
        self.waiting: dict[int, bytes] = {}

    def add(self, number: int, line: bytes) -> None:
        if number != self.next_line:
            self.waiting[number] = line
            return
        self._append(line)
        while self.waiting and (due := self.waiting.pop(self.next_line, None)) is not None:
            self._append(due)

    def _append(self, line: bytes) -> None:
        self.lines.append(line)
        self.next_line += 1
        if len(self.lines) >= MEMBER_LINES:
            self._flush()

    def _flush(self) -> None:
        member = gzip.compress(b"".join(self.lines), COMPRESS_LEVEL, mtime=0)
        self._file.write(member)
        self.offset += len(member)
        self.lines = []

    def sync(self) -> None:
        """What is below `offset` is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self, *, is_complete: bool) -> None:
        """An empty log leaves an empty archive; without `is_complete` the last lines are left
        to whoever resumes."""
        if is_complete and (self.lines or not self.offset):
            self._flush()
        self._file.close()
