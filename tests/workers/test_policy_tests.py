"""Policy tests themselves: a wrong expectation fails, at its line, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import PolicyError
from gateway.workers.policy_tests import TestReport, run_tests

POLICY = """\
version: 1
mode: enforce
rules:
  - name: no-hosting
    why: because it has to be
    when: {network_class: hosting, verification: {below: phone}}
    on_unknown: no_match
    then: {verify: phone}
limits:
  - {name: slow, why: because it has to be, by: account, quota: 60/min, burst: 2}
  - {name: tokens, why: because it has to be, by: account, quota: 600/min, cost: total_tokens}
  - {name: pair, why: because it has to be, by: org, quota: 2, cost: concurrency, lease: 60s}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = Path("p")
    (folder / "tests").mkdir(parents=True)
    (folder / "policy.yaml").write_text(POLICY)
    return folder


def run(folder: Path, *cases: str) -> TestReport:
    text = "cases:\n" + "".join(f"  - {{name: the case, {case}}}\n" for case in cases)
    (folder / "tests" / "t.yaml").write_text(text)
    return run_tests(folder)


@pytest.mark.parametrize(
    "case",
    [
        "expect: {verdict: allow, would_be: allow, reason: ok, findings: []}",
        "request: {network_class: hosting}, expect: {verdict: verify, level: phone, status: 403}",
        "request: {network_class: hosting}, account: {verification: phone}, "
        "expect: {verdict: allow}",
        "steps: [{times: 2, expect: {verdict: allow}}, {expect: {reason: slow}}, "
        "{at: 1s, expect: {verdict: allow}}]",
        "steps: [{times: 5, every: 1s, expect: {verdict: allow}}]",
        "account: {org_id: o}, steps: [{lasts: 10s, expect: {verdict: allow}}, "
        "{lasts: 10s, account: {id: acc_2}, expect: {verdict: allow}}, "
        "{account: {id: acc_3}, expect: {reason: pair}}, "
        "{at: 10s, account: {id: acc_3}, expect: {verdict: allow}}]",
        "request: {input_tokens: 100}, steps: [{used: {input_tokens: 900, output_tokens: 0}, "
        "expect: {verdict: allow}}, {at: 30s, expect: {reason: tokens}}, "
        "{at: 40s, expect: {verdict: allow}}]",
        "account: {status: provisional}, expect: {reason: unknown_credential, status: 401}",
        "now: 2026-03-01T12:00:00+02:00, account: {age: 3d}, expect: {verdict: allow}",
    ],
)
def test_a_case_that_holds_passes(folder: Path, case: str) -> None:
    report = run(folder, case)
    assert report.problems == []
    assert (report.cases, report.is_passed) == (1, True)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            "expect: {verdict: deny}",
            "cases[0]: the case: verdict is allow, not deny",
        ),
        (
            "request: {network_class: hosting}, expect: {verdict: allow, reason: ok}",
            "cases[0]: the case: verdict is verify, not allow, reason is no-hosting, not ok; "
            "findings: no-hosting",
        ),
        (
            "steps: [{expect: {verdict: allow}}, {times: 5, expect: {verdict: allow}}]",
            "cases[0].steps[1]: the case: verdict is throttle, not allow; findings: slow "
            "(request 2 of 5)",
        ),
        (
            "expect: {findings: [slow]}",
            "cases[0]: the case: findings is none, not slow",
        ),
        (
            "expect: {level: phone}",
            "cases[0]: the case: level is None, not phone",
        ),
    ],
)
def test_a_case_that_does_not_hold_fails_at_its_line(folder: Path, case: str, message: str) -> None:
    report = run(folder, case)
    assert list(map(str, report.problems)) == [f"p/tests/t.yaml:2: {message}"]
    assert not report.is_passed


def test_each_case_begins_with_empty_counters(folder: Path) -> None:
    twice = "steps: [{times: 2, expect: {verdict: allow}}]"
    assert run(folder, twice, twice).is_passed


def test_what_no_case_makes_speak_is_named(folder: Path) -> None:
    report = run(folder, "request: {network_class: hosting}, expect: {verdict: verify}")
    assert report.untested == ["pair", "slow", "tokens"]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("expct: {}", "cases[0].expct: no such key; did you mean expect?"),
        ("now: today, expect: {}", "cases[0].now: must be an instant such as "
         "2026-01-01T00:00:00Z, not 'today'"),
        ("now: 2026-01-01T00:00:00, expect: {}", "cases[0].now: must be an instant such as "
         "2026-01-01T00:00:00Z, not '2026-01-01T00:00:00'"),
        ("account: {teir: a}, expect: {}", "cases[0].account.teir: no such key; "
         "did you mean tier?"),
        ("request: {route: openai.chat}, expect: {}", "cases[0].request.route: no such route in "
         "this policy; did you mean openai.chat_completions?"),
        ("expect: {findings: [slwo]}", "cases[0].expect.findings: no such rule or limit; "
         "did you mean slow?"),
        ("expect: {verdict: refuse}", "cases[0].expect.verdict: must be allow, throttle, verify or "
         "deny, not 'refuse'"),
        ("account: {age: old}, expect: {}", "cases[0].account.age: must be a duration such as "
         "30s, 10m, 2h or 7d"),
        ("steps: []", "cases[0].steps: must have at least 1 entries"),
        ("account: {}", "cases[0]: needs expect, or steps"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_case_is_named_with_its_place(folder: Path, case: str, message: str) -> None:
    with pytest.raises(PolicyError) as raised:
        run(folder, case)
    assert str(raised.value) == f"p/tests/t.yaml:2: {message}"


def test_a_policy_of_one_file_has_the_cases_of_its_name(folder: Path) -> None:
    (folder / "tests" / "policy.yaml").write_text("cases: [{name: one, expect: {verdict: allow}}]")
    (folder / "tests" / "other.yaml").write_text("{")
    assert run_tests(folder / "policy.yaml").cases == 1


def test_a_policy_without_cases_has_everything_untested(folder: Path) -> None:
    report = run_tests(folder)
    assert (report.cases, len(report.untested)) == (0, 4)
