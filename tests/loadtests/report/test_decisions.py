"""Reading labels and decisions: one count by line and by column, and errors with their line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import UsageError
from gateway.loadtests.report import tally as tally_module
from gateway.loadtests.report.decisions import read_decisions
from gateway.loadtests.report.labels import STRANGERS, Group, Labels, read_labels
from gateway.loadtests.report.tally import Tally

from .runs import BAD_LINE, START_S, Line, label, write_lines, write_run

FARM, ORDINARY = Group("farm", True), Group("ordinary", False)
LABELS = {"a": FARM, "b": FARM, "x": ORDINARY, "y": ORDINARY}


def counts(tally: Tally, group: Group) -> list[int]:
    """Offered, served and would-serve of a group."""
    code = tally.group_code(group)
    return [int(sum(row[code, i] for row in tally.by_bin.values())) for i in range(3)]


def read(
    folder: Path, lines: list[Line | dict[str, object]], line_labels: Path | None = None
) -> Tally:
    tally = Tally(LABELS)
    read_decisions(write_run(folder, lines) / "decisions.jsonl.gz", tally, line_labels=line_labels)
    return tally


def test_columns_and_single_lines_count_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(5)
    verdicts = ["allow", "allow", "throttle", "verify", "deny"]
    lines = [
        Line(rng.choice("abxyz"), rng.uniform(0, 50), rng.choice(verdicts), rng.choice(verdicts))
        for _ in range(3000)
    ]
    by_column = read(tmp_path, list(lines))
    monkeypatch.setattr(tally_module, "BATCH", 257)
    by_line = Tally(LABELS)
    for line in lines:
        record = line.as_json()
        del record["findings"], record["cluster_id"], record["suspicion"], record["degraded"]
        by_line.add(**record)
    by_line.flush()
    assert by_line.exchanges == by_column.exchanges == 3000
    for group in by_line.groups:
        assert counts(by_line, group) == counts(by_column, group)
    for account in "abxyz":
        one, other = by_line.index[account], by_column.index[account]
        assert by_line.offered[one] == by_column.offered[other]
        assert by_line.refused[one] == by_column.refused[other]
        assert by_line.worst[one] == by_column.worst[other]
        assert by_line.worst_would_be[one] == by_column.worst_would_be[other]


def test_a_verdict_that_is_none_changes_nothing() -> None:
    tally = Tally(LABELS)
    record: dict[str, Any] = {"ts": START_S, "account_id": "a", "verdict": "allow"}
    record |= {"served": True, "reason": None}
    with pytest.raises(UsageError, match="no such verdict: 'maybe'"):
        tally.add(**record, would_be="maybe")
    tally.add(**record, would_be="allow")
    tally.flush()
    assert counts(tally, FARM) == [1, 1, 1]


def test_memory_does_not_go_with_exchanges() -> None:
    tally = Tally(LABELS)
    sizes = []
    for _ in range(3):
        for number in range(tally_module.BATCH):
            tally.add(
                ts=START_S + number % 7200,
                account_id="axby"[number % 4],
                verdict="allow",
                would_be="allow",
                served=True,
                reason=None,
            )
        sizes.append((len(tally.offered), len(tally.by_bin), tally.by_reason.size))
    assert len(set(sizes)) == 1
    assert tally.exchanges == 3 * tally_module.BATCH


def test_bad_lines_of_the_traffic_are_counted_and_keep_their_number(tmp_path: Path) -> None:
    tally = Tally(LABELS)
    run = write_run(tmp_path, [Line("a"), BAD_LINE, Line("x", verdict="deny")])
    labels = write_lines(tmp_path / "line-labels.jsonl", [{"line": 3, "campaign": "farm"}])
    assert read_decisions(run / "decisions.jsonl.gz", tally, line_labels=labels) == 1
    assert counts(tally, FARM) == [2, 1, 1]
    assert counts(tally, ORDINARY) == [0, 0, 0]


def test_a_line_label_beats_its_accounts_and_strangers_are_apart(tmp_path: Path) -> None:
    labels = write_lines(
        tmp_path / "line-labels.jsonl",
        [
            {"line": 1, "campaign": None},  # a stranger inside a campaign's account
            {"line": 3, "campaign": "farm"},
            {"line": 4, "campaign": None},  # an innocent's, as ever
        ],
    )
    lines: list[Line | dict[str, object]] = [Line("a"), Line("a"), Line("b"), Line("x")]
    tally = read(tmp_path, lines, line_labels=labels)
    assert counts(tally, STRANGERS)[0] == 1
    assert counts(tally, FARM)[0] == 2
    assert counts(tally, ORDINARY)[0] == 1


def test_accounts_without_a_label_are_innocent_and_named_so(tmp_path: Path) -> None:
    tally = read(tmp_path, [Line("nobody", verdict="deny")])
    assert counts(tally, Group("unlabelled", False)) == [1, 0, 0]


@pytest.mark.parametrize(
    ("records", "says"),
    [
        (
            [{"line": 2, "campaign": None}, {"line": 1, "campaign": None}],
            r"line-labels.*:2: .*sort",
        ),
        ([{"line": 1, "campaign": "ghost"}], "'ghost' labels a line and no account"),
        ([{"campaign": None}], r":1: .*missing required field `line`"),
    ],
    ids=["unsorted", "unknown campaign", "no line"],
)
def test_line_labels_that_cannot_be_right_are_refused(
    tmp_path: Path, records: list[dict[str, object]], says: str
) -> None:
    labels = write_lines(tmp_path / "line-labels.jsonl", records)
    with pytest.raises(UsageError, match=says):
        read(tmp_path, [Line("a"), Line("a")], line_labels=labels)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"ts": 1.0}, r"decisions\.jsonl\.gz:2: no decision: .*account_id"),
        ({**Line("a").as_json(), "verdict": "maybe"}, "no such verdict: 'maybe'"),
        ({**Line("a").as_json(), "ts": "noon"}, r":2: no decision"),
    ],
    ids=["missing", "verdict", "type"],
)
def test_what_is_no_decision_is_refused_with_its_line(
    tmp_path: Path, record: dict[str, object], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        read(tmp_path, [Line("a"), record])


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, [Line("a", hour) for hour in range(500)])
    path = run / "decisions.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UsageError, match="cannot be read to its end"):
        read_decisions(path, Tally(LABELS))


def test_a_run_that_spans_years_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "MAX_BINS", 48)
    with pytest.raises(UsageError, match="spans over 48 bins of 3600 s"):
        read(tmp_path, [Line("a", hour) for hour in range(50)])


def test_labels_make_groups(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "labels.jsonl", [label("a", "farm"), label("x"), label("y")])
    assert read_labels(path) == Labels({"a": FARM, "x": ORDINARY, "y": ORDINARY})


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([], "no labels in it"),
        ([label("a"), label("a", "farm")], r":2: account labelled twice"),
        ([{"campaign": None}], r":1: .*missing required field `account_id`"),
        ([label(f"a{i}", f"c{i}") for i in range(300)], "over 200 campaigns and classes"),
    ],
    ids=["empty", "twice", "no account", "too many"],
)
def test_labels_that_cannot_be_right_are_refused(
    tmp_path: Path, records: list[dict[str, object]], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        read_labels(write_lines(tmp_path / "labels.jsonl", records))
