"""The yardstick is a policy like any other, and sees nothing but single accounts."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from gateway.cli import main
from gateway.policy.load import load_policy

BASELINE = Path(__file__).resolve().parents[2] / "loadtests" / "policies" / "baseline"
ENFORCE = Path(__file__).resolve().parents[2] / "policies" / "enforce"


def test_the_baseline_passes_check_and_its_own_cases() -> None:
    for command in ("check", "test"):
        result = CliRunner().invoke(main, ["policy", command, str(BASELINE)])
        assert result.exit_code == 0, result.output


def test_the_baseline_looks_at_single_accounts_alone() -> None:
    policy = load_policy(BASELINE)
    assert policy.rules == ()
    assert {limit.scope for limit in policy.limits} == {"a"}


def test_the_baseline_has_the_numbers_of_the_shipped_policy() -> None:
    shipped = {limit.name: limit for limit in load_policy(ENFORCE).limits}
    for limit in load_policy(BASELINE).limits:
        other = shipped[limit.name]
        assert (limit.quota, limit.tier_quotas) == (other.quota, other.tier_quotas)
        assert (limit.cost, limit.cached_input_weight) == (other.cost, other.cached_input_weight)
