"""Rules beside a policy: the copy is the policy and the rules, and what differs is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.loadtests.with_rules import compared, rows_of, with_rules
from gateway.policy.load import load_policy

ROOT = Path(__file__).resolve().parents[2]
ENFORCE = ROOT / "policies" / "enforce"
RULES = ROOT / "loadtests" / "policies" / "collecting" / "rules.yaml"
CASES = """
cases:
  - name: a new account that collects is asked for an identity
    account: {tier: start, verification: payment, age: 1d}
    request: {collecting: 0.96}
    expect: {verdict: verify, level: identity, findings: [new-account-that-collects]}
  - name: one that nobody could score is left alone
    account: {tier: start, verification: payment, age: 1d}
    expect: {verdict: allow, findings: []}
  - name: so is one with a lower score
    account: {tier: start, verification: payment, age: 1d}
    request: {collecting: 0.94}
    expect: {verdict: allow, findings: []}
  - name: so is an older one
    account: {tier: start, verification: payment, age: 30d}
    request: {collecting: 0.99}
    expect: {verdict: allow, findings: []}
  - name: so is one whose contract covers it
    account: {tier: start, verification: payment, age: 1d, contracts: [synthetic-data]}
    request: {collecting: 0.99}
    expect: {verdict: allow, findings: []}
  - name: so is one that has shown an identity
    account: {tier: start, verification: identity, age: 1d}
    request: {collecting: 0.99}
    expect: {verdict: allow, findings: []}
"""


def result(*shares: float, touched: int) -> dict[str, Any]:
    campaigns = [{"name": f"c{n}", "served": {"share": share}} for n, share in enumerate(shares)]
    innocents = {"touched": {"part": touched, "whole": 90}, "refused": {"part": 7 * touched}}
    return {"figures": {"campaigns": campaigns, "innocents": innocents}}


def test_the_copy_holds_every_rule_of_both(tmp_path: Path) -> None:
    before, after = load_policy(ENFORCE), load_policy(with_rules(ENFORCE, RULES, tmp_path / "p"))
    added = {rule.name for rule in after.rules} - {rule.name for rule in before.rules}
    assert added == {"new-account-that-collects"}
    assert {limit.name for limit in after.limits} == {limit.name for limit in before.limits}


def test_the_rule_asks_new_accounts_that_collect_and_nobody_else(tmp_path: Path) -> None:
    folder = with_rules(ENFORCE, RULES, tmp_path / "p")
    (folder / "tests").mkdir()
    (folder / "tests" / "collecting.yaml").write_text(CASES)
    found = CliRunner().invoke(main, ["policy", "test", str(folder)])
    assert found.exit_code == 0, found.output
    assert "6" in found.output


def test_a_file_of_the_policy_is_not_written_over(tmp_path: Path) -> None:
    with_rules(ENFORCE, RULES, tmp_path / "p")
    with pytest.raises(FileExistsError, match="collecting-rules"):
        with_rules(tmp_path / "p", RULES, tmp_path / "other" / "q")


def test_what_differs_is_told_by_campaign() -> None:
    found = compared(result(0.5, 0.1, touched=0), result(0.2, 0.1, touched=1))
    assert found["served"] == {"c0": [0.5, 0.2], "c1": [0.1, 0.1]}
    assert (found["touched"], found["refused"]) == ([0, 1], [0, 7])
    first, second = rows_of("world", found)
    assert first.split() == ["world", "c0", "50.00%", "20.00%", "-30.00", "0", "1", "0", "7"]
    assert "+0.00" in second


def test_a_world_without_campaigns_is_one_row() -> None:
    found = compared(result(touched=0), result(touched=0))
    assert len(rows_of("world", found)) == 1
