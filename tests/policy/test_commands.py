"""`hydragate policy …`: findings on stderr, exit codes as CONTRACTS §1 has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

from .builders import HEAD, limit, rule

GOOD = HEAD + "rules:\n" + rule("small", "{items: {gt: 1}}")
CASES = "cases: [{name: one, request: {items: 2}, expect: {verdict: deny, reason: small}}]\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = Path("p")
    (folder / "tests").mkdir(parents=True)
    (folder / "policy.yaml").write_text(GOOD)
    (folder / "tests" / "t.yaml").write_text(CASES)
    return folder


def hydragate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["policy", *arguments])


def test_check_of_a_good_policy_says_what_it_is_and_ends_with_0(folder: Path) -> None:
    result = hydragate("check", "p")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("p@")
    assert result.stdout.endswith(": 1 rules, 0 limits, 7 routes\n")


def test_check_of_a_bad_policy_tells_every_finding_and_ends_with_1(folder: Path) -> None:
    (folder / "policy.yaml").write_text(GOOD.replace("items", "itmes").replace("why", "wy"))
    result = hydragate("check", "p")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "p/policy.yaml:4: rules[0].when.itmes: no such signal; did you mean items?",
        "p/policy.yaml:4: rules[0].why: is required",
        "p/policy.yaml:4: rules[0].wy: no such key; did you mean why?",
    ]


def test_a_warning_is_told_and_ends_with_0(folder: Path) -> None:
    (folder / "limits.yaml").write_text("limits:\n" + limit("day", "by: account, quota: 9/day"))
    result = hydragate("check", "p")
    assert result.exit_code == 0
    assert "limits[0].quota: warning: lets 1 pass at once" in result.stderr


def test_check_as_json_is_the_list_of_findings(folder: Path) -> None:
    (folder / "policy.yaml").write_text(GOOD.replace("items", "itmes"))
    result = hydragate("check", "p", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == [
        {
            "file": "p/policy.yaml",
            "line": 4,
            "path": "rules[0].when.itmes",
            "message": "no such signal; did you mean items?",
            "is_warning": False,
        }
    ]


def test_cases_that_hold_end_with_0(folder: Path) -> None:
    result = hydragate("test", "p")
    assert (result.exit_code, result.stdout) == (0, "1 cases, 1 requests, 0 failed\n")


def test_a_case_that_does_not_hold_ends_with_1(folder: Path) -> None:
    (folder / "tests" / "t.yaml").write_text(CASES.replace("items: 2", "items: 1"))
    result = hydragate("test", "p")
    assert result.exit_code == 1
    assert result.stderr == (
        "p/tests/t.yaml:1: cases[0]: one: verdict is allow, not deny, reason is ok, not small\n"
    )
    assert "no case makes these speak: small" in result.stdout
    assert json.loads(hydragate("test", "p", "--json").stdout)["untested"] == ["small"]


def test_a_policy_that_cannot_be_tested_ends_with_1_and_its_findings(folder: Path) -> None:
    (folder / "policy.yaml").write_text("version: 2\nmode: shadow\n")
    result = hydragate("test", "p")
    assert (result.exit_code, result.stderr) == (
        1,
        "p/policy.yaml:1: version: must be 1, not 2\n",
    )


@pytest.mark.parametrize("words", [("test", "p"), ("diff", "p", "p")], ids=lambda words: words[0])
def test_what_is_wrong_with_a_policy_is_json_where_that_was_asked_for(
    folder: Path, words: tuple[str, ...]
) -> None:
    (folder / "policy.yaml").write_text(GOOD.replace("items", "itmes"))
    result = hydragate(*words, "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    assert json.loads(result.stdout)["problems"] == json.loads(
        hydragate("check", "p", "--json").stdout
    )


def test_a_path_that_is_not_there_is_wrong_usage() -> None:
    assert hydragate("check", "nowhere-at-all").exit_code == 2


def test_the_schema_is_json() -> None:
    result = hydragate("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["title"] == "Hydragate policy, version 1"
