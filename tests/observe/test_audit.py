"""A line for each act, at once on the disk, for its owner's eyes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.observe.audit import MAX_LINE_BYTES, AuditLog


def test_lines_are_appended_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    AuditLog(path).write("cluster.confirm", "cl_1", by="ada", reason="why", order="o1")
    AuditLog(path).write("account.put", "acc_1")
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    told = {name: first[name] for name in ("action", "target", "by", "reason", "outcome", "order")}
    assert list(told.values()) == ["cluster.confirm", "cl_1", "ada", "why", "done", "o1"]
    assert first["at"].endswith("+00:00")
    assert second["action"] == "account.put"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_is_one_line_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    AuditLog(path).write("x", "t" * 9_000, by="a\nb", reason="\u20ac" * 9_000)
    assert len(path.read_bytes()) <= MAX_LINE_BYTES
    assert len(path.read_text().splitlines()) == 1


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        AuditLog(tmp_path / "missing" / "audit.jsonl").write("x", "y")
