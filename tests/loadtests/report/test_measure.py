"""What the report says about a small world whose answers are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.loadtests.report.findings import RunFound, Share
from gateway.loadtests.report.labels import read_labels
from gateway.loadtests.report.measure import measure
from gateway.loadtests.report.page import write_page
from gateway.loadtests.report.run_dir import read_run
from gateway.loadtests.report.targets import RUNGS, judge_share

from .runs import START_S, Line, label, write_lines, write_run


@pytest.fixture
def found(tmp_path: Path) -> RunFound:
    """Two days: a farm of two accounts served for 12 hours, 20 ordinary accounts, 5 in class."""
    lines: list[Line | dict[str, object]] = []
    for hour in range(48):
        lines += [Line(a, hour, "allow" if hour < 12 else "deny", reason="farm") for a in "ab"]
        lines += [Line(f"o{i}", hour) for i in range(20)]
        lines += [Line(f"k{i}", hour, would_be="verify") for i in range(5)]
    lines.append(Line("k0", 47.5, "throttle"))
    labels = [label(a, "farm", "campaign") for a in "ab"]
    labels += [label(f"o{i}") for i in range(20)]
    labels += [label(f"k{i}", class_="classroom") for i in range(5)]
    clusters = [
        {
            "cluster_id": "1",
            "state": "suspected",
            "accounts": ["a", "b", "o0"],
            "first_seen": START_S + 6 * 3600,
        }
    ]
    groups = read_labels(write_lines(tmp_path / "labels.jsonl", labels))
    return measure(
        read_run("it", write_run(tmp_path / "run", lines, clusters=clusters), groups), groups.groups
    )


def test_a_campaign_is_served_contained_and_found(found: RunFound) -> None:
    (farm,) = found.campaigns
    assert (farm.served.part, farm.served.whole, farm.served.share) == (24, 96, 0.25)
    # From hour 11 on, a window holds one served hour of 24, which is 4.2 %.
    assert farm.contained_after_h == 11
    assert farm.found_after_h == 6.0
    assert (farm.accounts, farm.accounts_seen, farm.accounts_refused) == (2, 2, 2)
    assert farm.busiest_account_per_day == 24.0
    assert sum(farm.course.offered) == 96


def test_touched_counts_accounts_and_refused_counts_exchanges(found: RunFound) -> None:
    classes = {one.name: one for one in found.classes}
    room = classes["classroom"]
    assert (room.touched.part, room.touched.whole) == (1, 5)
    assert (room.refused.part, room.refused.whole) == (1, 241)
    assert room.touched.bounds is not None
    assert (room.touched.bounds.low, room.touched.bounds.high) == pytest.approx(
        (0.00505, 0.71642), abs=1e-5
    )
    assert classes["ordinary"].touched.part == 0
    assert found.innocents.touched.part == 1
    assert found.innocents.accounts == 25


def test_shadow_is_reported_apart(found: RunFound) -> None:
    room = next(one for one in found.classes if one.name == "classroom")
    assert (room.touched.part, room.would_touch.part) == (1, 5)


def test_accounts_and_clusters_are_scored(found: RunFound) -> None:
    assert found.accounts.precision == pytest.approx(2 / 3)
    assert found.accounts.recall == 1.0
    assert found.clusters is not None
    assert found.clusters.accounts.precision == pytest.approx(2 / 3)
    assert found.clusters.pairs.precision == pytest.approx(1 / 3)


def test_rules_say_whom_they_refused(found: RunFound) -> None:
    assert [(r.rule, r.campaign, r.innocent) for r in found.rules] == [
        ("farm", 72, 0),
        ("account-requests", 0, 1),
    ]


def test_misses_are_called_so(found: RunFound) -> None:
    outcomes = {target.what: target.outcome for target in found.targets}
    assert outcomes == {
        "farm: exchanges served": "missed",
        "innocent accounts touched": "missed",
        "innocent exchanges refused": "missed",
    }


@pytest.mark.parametrize(
    ("served", "outcome"), [(0.03, "missed"), (0.02, "partly"), (0.01, "partly"), (0.005, "met")]
)
def test_the_first_target_may_be_met_and_the_later_one_missed(served: float, outcome: str) -> None:
    found = judge_share("farm", RUNGS["regimes"], Share(round(1000 * served), 1000, served))
    assert (found.target, found.later, found.outcome) == (0.02, 0.005, outcome)


def test_a_promise_kept_by_a_handful_is_not_called_sure(tmp_path: Path) -> None:
    groups = read_labels(write_lines(tmp_path / "labels.jsonl", [label("a", "farm"), label("x")]))
    lines = [Line("a", 0, "deny"), Line("x", 0)]
    found = measure(read_run("it", write_run(tmp_path / "run", lines), groups), groups.groups)
    touched = next(t for t in found.targets if t.what == "innocent accounts touched")
    assert touched.measured == 0.0
    assert touched.outcome == "unsure"
    refused = next(t for t in found.targets if t.what == "innocent exchanges refused")
    assert (refused.measured, refused.outcome) == (0.0, "unsure")
    assert "97.5%" in touched.note


def test_a_framed_victim_may_never_be_refused(tmp_path: Path) -> None:
    labels = [label("a", "farm"), *(label(f"x{i}") for i in range(5000))]
    labels[1]["framed_by"] = "farm"
    groups = read_labels(write_lines(tmp_path / "labels.jsonl", labels))
    lines = [Line("a"), *(Line(f"x{i}") for i in range(5000)), Line("x0", 1, "throttle")]
    found = measure(read_run("it", write_run(tmp_path / "run", lines), groups), groups.groups)
    assert (found.framed.part, found.framed.whole) == (1, 1)
    outcomes = {target.what: target.outcome for target in found.targets}
    assert outcomes["framed victims refused"] == "missed"
    assert outcomes["innocent accounts touched"] == "unsure"


def test_who_is_due_a_limit_is_shown_and_promised_nothing(tmp_path: Path) -> None:
    labels = [
        label("a", "farm"),
        label("x"),
        {**label("loop", class_="runaway"), "limit_due": True},
    ]
    groups = read_labels(write_lines(tmp_path / "labels.jsonl", labels))
    lines = [Line("a", 0, "deny"), Line("x"), Line("loop", 0, "throttle")]
    found = measure(read_run("it", write_run(tmp_path / "run", lines), groups), groups.groups)
    assert found.innocents.accounts == 1
    assert found.innocents.touched.part == 0
    assert {one.name: one.touched.part for one in found.classes} == {"runaway": 1, "ordinary": 0}
    assert (found.accounts.precision, found.accounts.recall) == (1.0, 1.0)


def test_accounts_that_never_sent_anything_are_nobodys_to_find(tmp_path: Path) -> None:
    labels = [label("a", "farm"), label("b", "farm"), label("standby", "farm"), label("x")]
    groups = read_labels(write_lines(tmp_path / "labels.jsonl", labels))
    clusters = [{"cluster_id": "c", "state": "suspected", "accounts": ["a", "b"]}]
    lines = [Line("a", 0, "deny"), Line("b", 0, "deny"), Line("x")]
    run = write_run(tmp_path / "run", lines, clusters=clusters)
    found = measure(read_run("it", run, groups), groups.groups).clusters
    assert found is not None
    assert found.accounts_scored == 2
    assert (found.accounts.precision, found.accounts.recall) == (1.0, 1.0)
    assert found.b_cubed.f1 == 1.0


def test_a_run_whose_folder_says_nothing_of_itself_is_still_read(tmp_path: Path) -> None:
    groups = read_labels(write_lines(tmp_path / "labels.jsonl", [label("x")]))
    run = write_run(tmp_path / "run", [Line("x")])
    (run / "summary.json").unlink()
    (run / "clusters.jsonl").unlink()
    found = measure(read_run("it", run, groups), groups.groups)
    assert (found.policy, found.machine, found.exchanges) == ("?", {}, 1)
    paths = write_page([found], tmp_path, title="it")
    assert "it" in paths[0].read_text()


def test_without_a_campaign_only_innocents_are_judged(tmp_path: Path) -> None:
    groups = read_labels(write_lines(tmp_path / "labels.jsonl", [label("x")]))
    found = measure(read_run("it", write_run(tmp_path / "run", [Line("x")]), groups), groups.groups)
    assert found.campaigns == []
    assert [t.what for t in found.targets] == [
        "innocent accounts touched",
        "innocent exchanges refused",
    ]
    assert found.accounts.precision is None


def test_a_run_without_lines_says_nothing(tmp_path: Path) -> None:
    groups = read_labels(write_lines(tmp_path / "labels.jsonl", [label("x")]))
    found = measure(read_run("it", write_run(tmp_path / "run", []), groups), groups.groups)
    assert (found.exchanges, found.span_s) == (0, 0)
    assert found.innocents.touched == Share(0, 0, None)


def test_the_rungs_are_those_of_the_targets_table() -> None:
    assert [(r.served_first, r.served_then) for r in RUNGS.values()] == [
        (0.02, 0.005),
        (0.05, 0.02),
        (0.10, 0.10),
    ]
