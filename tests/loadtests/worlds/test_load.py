"""A bad scenario says where it is bad and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import PolicyError, UsageError
from gateway.loadtests.worlds.load import load_plan

GOOD = """version: 1
name: tested
why: a scenario for a test
start: 2026-04-20T00:00:00Z
days: 1
population: {file: ordinary, accounts: 100}
campaigns:
  - file: wide-thin
    scale: 0.01
    knobs: {paraphrase: 0.5}
"""

BAD = {
    "unknown key": ("days: 1", "dais: 1", ":5: dais: no such key; did you mean days?"),
    "unknown knob": ("paraphrase", "parafrase", "knobs.parafrase: no such key; did you mean para"),
    "unknown campaign": (
        "wide-thin",
        "wide-thim",
        "no such file wide-thim; did you mean wide",
    ),
    "unknown population": ("ordinary", "ordinari", "no such file ordinari; did you mean ordinary?"),
    "no date": ("2026-04-20T00", "2026-04-31T00", ":4: start: is no moment of the calendar"),
    "wrong type": ("days: 1", "days: [1]", ":5: days: must be a number"),
    "out of bounds": ("scale: 0.01", "scale: 0", "scale: "),
    "framed nobody": (
        "{paraphrase: 0.5}",
        "{frames: agency}",
        "no class agency in this",
    ),
    "twice": ("days: 1", "days: 1\ndays: 2", "comes twice"),
}


@pytest.mark.parametrize(("old", "new", "message"), BAD.values(), ids=list(BAD))
def test_a_bad_scenario_is_told_with_file_line_and_path(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(PolicyError) as raised:
        load_plan(path)
    assert "scenario.yaml:" in str(raised.value)
    assert message in str(raised.value)


POPULATION = """version: 1
name: people
why: a population for a test
classes:
  - name: ordinary
    why: customers for a test
    share: 1.0
    rate: {per_day: 5}
    apps: {tasks: {chat: 1}}
"""

BAD_POPULATIONS = {
    "shares": ("share: 1.0", "share: 0.5", ":4: classes: shares must sum to 1, not 0.500"),
    "task": ("chat: 1", "chatt: 1", "tasks.chatt: there is no chatt here; did you mean chat?"),
    "bounds": (
        "chat: 1}",
        "chat: 1}, count: [3, 1]",
        "count: must be [least, most], not [3, 1]",
    ),
    "network": ("chat: 1}}", "chat: 1}}\n    networks: {hostin: 1}", "did you mean hosting?"),
    "no weight": ("chat: 1", "chat: 0", "needs at least one weight above 0"),
}


@pytest.mark.parametrize(
    ("old", "new", "message"), BAD_POPULATIONS.values(), ids=list(BAD_POPULATIONS)
)
def test_a_bad_population_is_told_by_its_own_file(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    (tmp_path / "people.yaml").write_text(POPULATION.replace(old, new))
    path = tmp_path / "scenario.yaml"
    path.write_text(GOOD.replace("file: ordinary", "file: people.yaml"))
    with pytest.raises(PolicyError, match=r"people\.yaml:\d+: ") as raised:
        load_plan(path)
    assert message in str(raised.value)


def test_a_scenario_comes_by_name_or_is_missed_with_a_hint() -> None:
    assert load_plan(Path("smoke")).scenario.name == "smoke"
    assert load_plan(Path("ladders/mixed-5")).campaigns[0].knobs.mixing == 5
    with pytest.raises(UsageError, match="did you mean smoke"):
        load_plan(Path("smokee"))


def test_what_is_asked_for_comes_before_the_file() -> None:
    plan = load_plan(Path("smoke"), scale=0.5, days=0.25, seed=7)
    assert (plan.scale, plan.days, plan.seed) == (0.5, 0.25, 7)


def test_knobs_of_the_scenario_come_over_those_of_the_campaign(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(GOOD.replace("wide-thin", "proxy-network"))
    knobs: Any = load_plan(path).campaigns[0].knobs
    assert (knobs.mixing, knobs.paraphrase) == (4.0, 0.5)


def test_two_runs_of_one_campaign_have_ids_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(GOOD + "  - {file: wide-thin, scale: 0.02}\n")
    assert [plan.id for plan in load_plan(path).campaigns] == ["wide-thin", "wide-thin-2"]
