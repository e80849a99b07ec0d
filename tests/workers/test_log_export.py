"""The decision log as Parquet: nothing is left out, nothing else is lost by a bad line."""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.model import Exchange, TaskReading
from gateway.observe.log_line import LineEncoder
from gateway.workers import log_export
from gateway.workers.log_columns import CHARGE, FINDING, GRANT, RESULT, SCHEMA, USAGE
from tests.observe.test_log import KEYED, Fixed, an_exchange
from tests.observe.test_reference import PAGE, full_subject

START_US = 1_776_816_000_000_000


def line_of(exchange: Exchange) -> bytes:
    return LineEncoder(KEYED).encode(exchange, Fixed().current)


def numbered(number: int) -> bytes:
    """The request of second `number`."""
    exchange = an_exchange(f"d{number:025d}")
    at_us = START_US + number * 1_000_000
    return line_of(replace(exchange, facts=replace(exchange.facts, received_us=at_us)))


def of_everything() -> Exchange:
    """Every field of facts and subject is known."""
    exchange = an_exchange()
    facts = replace(
        exchange.facts,
        task=TaskReading("v1", "90", (0.25, 0.5), 7),
        window=bytes(range(184)),
        collecting=0.75,
        end_user="u" * 32,
        asn=64_500,
    )
    subject = replace(
        full_subject(),
        created_us=1,
        asked_us=2,
        proofs=("a", "b"),
        sub_users=True,
        cluster_size=3,
        cluster_since_us=4,
        suspicion=0.5,
    )
    decision = replace(
        exchange.decision,
        subject=subject,
        degraded=True,
        degraded_limits=("l",),
        values=(True,) * len(exchange.decision.values),
    )
    return replace(exchange, facts=facts, decision=decision, upstream_status=200)


def logged_again(row: dict[str, Any]) -> dict[str, Any]:
    """The line that a row was, as `decision-log.md` describes it."""
    subject, facts = row["subject"], dict(row["facts"])
    if facts["window"] is not None:
        facts["window"] = b64encode(facts["window"]).decode()
    if subject is not None:
        subject = {name: value for name, value in subject.items() if value is not None}
        for name in {"grants"} & subject.keys():
            subject[name] = [[one[key] for key in GRANT] for one in subject[name]]
        for name in {"quotas"} & subject.keys():
            subject[name] = dict(subject[name])
    lists = {"findings": FINDING, "charges": CHARGE, "results": RESULT}
    instants = {"ts": "ts_us", "decided": "decided_us", "finished": "finished_us"}
    return {
        **{name: value for name, value in row.items() if name not in {*instants, *USAGE}},
        **{own: micros(row[name]) for name, own in instants.items()},
        **{name: [[one[key] for key in keys] for one in row[name]] for name, keys in lists.items()},
        "usage": [row[name] for name in USAGE],
        "degraded": row["degraded_limits"] or row["degraded"],
        "signals": dict(row["signals"]),
        "facts": facts,
        "subject": subject,
    }


def micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def export(log: Path, target: Path, *more: str) -> Result:
    return CliRunner().invoke(main, ["log", "export", str(target), "--log", str(log), *more])


def exported(target: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(target).to_pylist()
    return rows


@pytest.mark.parametrize("exchange", [an_exchange(), of_everything()], ids=["usual", "everything"])
def test_a_row_is_the_line(exchange: Exchange, tmp_path: Path) -> None:
    (tmp_path / "decisions-1.jsonl").write_bytes(line_of(exchange))
    assert export(tmp_path, tmp_path / "out.parquet").exit_code == 0
    (row,) = exported(tmp_path / "out.parquet")
    line = orjson.loads(line_of(exchange))
    again = logged_again(row)
    again.pop("degraded_limits")
    line["signals"] = {
        name: value if isinstance(value, str | None) else orjson.dumps(value).decode()
        for name, value in line["signals"].items()
    }
    assert again == line


def test_rows_come_from_every_workers_files_packed_or_not(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    packed = zstandard.compress(numbered(0) + numbered(2))
    (log / "decisions-1.1776816020000.jsonl.zst").write_bytes(packed)
    (log / "decisions-1.jsonl").write_bytes(numbered(4) + numbered(6))
    (log / "decisions-2.jsonl").write_bytes(numbered(1) + numbered(3)[:-9])  # being written
    result = export(log, tmp_path / "out.parquet", "--json")
    assert orjson.loads(result.stdout) == {"rows": 5, "lines": 5, "bad": 0}
    ids = [row["id"] for row in exported(tmp_path / "out.parquet")]
    assert ids == [f"d{n:025d}" for n in (0, 2, 4, 6, 1)]


def test_only_what_came_in_within_the_span(tmp_path: Path) -> None:
    (tmp_path / "decisions-1.jsonl").write_bytes(b"".join(map(numbered, range(10))))
    span = ("--since", "2026-04-22T00:00:03Z", "--until", "2026-04-22T00:00:06Z")
    assert export(tmp_path, tmp_path / "out.parquet", *span).exit_code == 0
    ids = [row["id"] for row in exported(tmp_path / "out.parquet")]
    assert ids == [f"d{n:025d}" for n in (3, 4, 5)]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"{broken\n", "JSON"),
        (numbered(5).replace(b'"status":403', b'"status":"no"'), "no"),
        (numbered(5).replace(b'{"v":1', b'{"v":2'), "format 2"),
        (numbered(5).replace(b'"applied"', b'"applies"'), "applied"),
        (numbered(5).replace(b'"usage":[3', b'"usage":[3,3'), "usage"),
        (b"[]\n", ""),
    ],
    ids=["no-json", "other-type", "other-format", "no-field", "other-length", "no-object"],
)
def test_a_bad_line_is_named_and_costs_no_other(bad: bytes, said: str, tmp_path: Path) -> None:
    assert bad != numbered(5)
    log = tmp_path / "decisions-1.jsonl"
    log.write_bytes(b"".join([*map(numbered, range(3)), bad, numbered(4)]))
    result = export(log, tmp_path / "out.parquet")
    assert result.exit_code == 1  # one in five is more than one in a hundred
    assert f"{log}:4:" in result.stderr
    assert len(exported(tmp_path / "out.parquet")) == 4


def test_one_bad_line_in_hundreds_is_no_failure(tmp_path: Path) -> None:
    log = tmp_path / "decisions-1.jsonl"
    log.write_bytes(b"".join([*map(numbered, range(200)), b"{broken\n"]))
    result = export(log, tmp_path / "out.parquet")
    assert result.exit_code == 0
    assert f"{log}:201:" in result.stderr


def test_a_broken_archive_is_said_and_what_came_before_is_kept(tmp_path: Path) -> None:
    packed = zstandard.compress(b"".join(map(numbered, range(500))))
    (tmp_path / "decisions-1.1.jsonl.zst").write_bytes(packed[:-40])
    (tmp_path / "decisions-2.jsonl").write_bytes(numbered(1))
    result = export(tmp_path, tmp_path / "out.parquet")
    assert result.exit_code == 1
    assert "decisions-1.1.jsonl.zst: the archive is broken here" in result.stderr
    assert 1 <= len(exported(tmp_path / "out.parquet")) < 501


def test_many_lines_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_export, "ROWS_AT_ONCE", 3)
    (tmp_path / "decisions-1.jsonl").write_bytes(b"".join(map(numbered, range(10))))
    assert export(tmp_path, tmp_path / "out.parquet").exit_code == 0
    assert pq.ParquetFile(tmp_path / "out.parquet").num_row_groups == 4
    assert len(exported(tmp_path / "out.parquet")) == 10


def test_an_export_takes_nobodys_place_and_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    (log / "decisions-1.jsonl").write_bytes(numbered(1))
    (tmp_path / "there.parquet").write_bytes(b"mine")
    for target, said in (("there.parquet", "is there already"), ("no/such", "cannot be written")):
        result = export(log, tmp_path / target)
        assert result.exit_code == 2
        assert said in result.stderr
    assert (tmp_path / "there.parquet").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "there.parquet"]
    empty = tmp_path / "empty"
    empty.mkdir()
    result = export(empty, tmp_path / "out.parquet")
    assert result.exit_code == 2
    assert "holds no decision log" in result.stderr


def test_without_the_library_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("gateway.workers.log_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "decisions-1.jsonl").write_bytes(numbered(1))
    result = export(tmp_path, tmp_path / "out.parquet")
    assert result.exit_code == 2
    assert "hydragate[export]" in result.stderr


def test_the_page_says_what_is_named_otherwise_in_columns() -> None:
    found = re.search(r"<!-- columns -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert found is not None
    described = set(re.findall(r"`(\w+)`", found[1]))
    line = orjson.loads(line_of(an_exchange()))
    assert set(SCHEMA.names) - line.keys() <= described
    assert line.keys() - set(SCHEMA.names) <= described
