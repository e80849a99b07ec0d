"""The audit log: what people did to accounts and clusters, when, and why. Append-only.

One JSON object a line in `audit.jsonl`, synced before the call returns. It is never rotated or
shortened here: a line is a person's act, and at most `MAX_LINE_BYTES`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import orjson

MAX_TEXT_CHARS = 1_000
MAX_LINE_BYTES = 16 * 1024


class AuditLog:
    """Lines of one gateway. The file is opened for each, so that it may be moved away."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(
        self,
        action: str,
        target: str,
        *,
        by: str = "",
        reason: str = "",
        outcome: str = "done",
        order: str = "",
    ) -> None:
        """`order` joins the lines of one order. Texts are cut at `MAX_TEXT_CHARS`. Raises
        OSError when the line is not on the disk."""
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "action": action,
            "target": target[:MAX_TEXT_CHARS],
            "by": by[:MAX_TEXT_CHARS],
            "reason": reason[:MAX_TEXT_CHARS],
            "outcome": outcome,
            "order": order,
        }
        self._append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(f"{self._path}: the line was cut: is the disk full?")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
