"""What we ship: checked without a word, tested rule by rule, and what its names promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.model import Cost, Mode, OnStoreError, Policy
from gateway.policy.load import check, load_policy
from gateway.policy.source import Report, parse_yaml
from gateway.workers.policy_tests import run_tests

POLICIES = Path(__file__).parents[2] / "policies"
FOLDERS = [POLICIES / "observe", POLICIES / "enforce"]
SHIPPED = [*FOLDERS, *sorted((POLICIES / "examples").glob("*.yaml"))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_check_has_nothing_to_say(path: Path) -> None:
    assert check(path) == []


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_its_cases_pass_and_make_every_rule_and_limit_speak(path: Path) -> None:
    report = run_tests(path)
    assert report.problems == []
    assert report.untested == []
    assert report.cases >= 2


def test_observe_enforces_nothing_of_its_own() -> None:
    policy = load_policy(POLICIES / "observe")
    assert {rule.mode for rule in policy.rules} == {Mode.SHADOW}
    assert {limit.mode for limit in policy.limits} == {Mode.SHADOW}
    assert policy.adopts_unknown
    assert policy.on_store_error is OnStoreError.ALLOW


def test_enforce_limits_requests_tokens_and_concurrency_by_everything_there_is() -> None:
    policy = load_policy(POLICIES / "enforce")
    assert policy.adopts_unknown is False
    assert policy.on_store_error is OnStoreError.DENY
    assert {Cost.REQUESTS, Cost.TOTAL_TOKENS, Cost.OUTPUT_TOKENS, Cost.CONCURRENCY} == {
        limit.cost for limit in policy.limits
    }
    assert {limit.scope for limit in policy.limits} == {"a", "o", "n", "c"}
    assert all(limit.tier_quotas for limit in policy.limits if limit.name.startswith("account-"))


def test_what_a_pool_would_use_is_closed_while_the_store_is_away() -> None:
    limits = load_policy(POLICIES / "enforce").limits
    denying = {limit.name for limit in limits if limit.on_store_error is OnStoreError.DENY}
    assert denying == {
        *("unverified-requests", "unverified-output-tokens", "suspected-cluster-requests"),
    }


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_no_limit_with_a_cluster_in_it_is_told_to_callers(folder: Path) -> None:
    limits = load_policy(folder).limits
    hidden = {limit.name for limit in limits if not limit.is_public}
    assert hidden == {limit.name for limit in limits if "cluster" in limit.name} != set()
    assert all(limit.cluster.jitter > 0 for limit in limits if limit.cluster is not None)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_text_that_a_caller_reads_tells_a_threshold_or_a_name(path: Path) -> None:
    policy: Policy = load_policy(path)
    texts = [rule.message for rule in policy.rules] + [limit.message for limit in policy.limits]
    for text in texts:
        assert not any(character.isdigit() for character in text)
        assert not any(name in text for name in policy.names)


@pytest.mark.parametrize("path", sorted(POLICIES.rglob("*.yaml")), ids=lambda path: path.name)
def test_editors_find_the_schema(path: Path) -> None:
    is_policy = path.parent.name not in ("tests", "sets")
    first = path.read_text().partition("\n")[0]
    assert (first == "# yaml-language-server: $schema=../schema.json") == is_policy


@pytest.mark.parametrize("path", sorted((POLICIES / "sets").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_values_of_a_set_are_sorted_so_that_a_change_is_easy_to_review(path: Path) -> None:
    parsed = parse_yaml(path.read_bytes(), path.name, Report())
    assert parsed is not None
    assert parsed.data["values"] == sorted(parsed.data["values"])
