"""Exceptions of a rule: one organization or account, until a day, for a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from gateway.core.assess import assess
from gateway.core.prepare import Preparer
from gateway.model import Policy, Subject
from gateway.policy.compile import Sources, compile_policy
from gateway.policy.source import Report, parse_yaml
from gateway.signals import all_signals
from tests.core.builders import FACTS

from .builders import HEAD, compiled, problems, rule

EXCEPTIONS = (
    ", on_unknown: no_match, exceptions: ["
    "{org_id: org_1, until: 2026-07-01, reason: licence 12}, "
    "{account_id: acc_9, until: 2026-07-01, reason: licence 13}]"
)


def at(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1_000_000)


def policy() -> Policy:
    return compiled(HEAD + "rules:\n" + rule("r", "{billing_country: CU}", extra=EXCEPTIONS))


def is_found(subject: Subject, day: str) -> bool:
    facts = replace(FACTS, received_us=at(day))
    compiled_policy = policy()
    prepared = Preparer(compiled_policy).prepare(subject)
    once = assess(compiled_policy, facts, subject, prepared=prepared).findings
    assert once == assess(compiled_policy, facts, subject).findings
    return [finding.rule for finding in once] == ["r"]


CUBAN = Subject("acc_1", version=1, billing_country="CU")


def test_what_was_prepared_before_the_end_ends_with_it_and_a_request_goes_by_its_arrival() -> None:
    """An account is prepared once and kept; and a request that the store asks for twice, before and
    after midnight, is decided by when it came, so that a replay decides it alike."""
    compiled_policy, subject = policy(), replace(CUBAN, org_id="org_1")
    kept = Preparer(compiled_policy).prepare(subject)
    before, after = (replace(FACTS, received_us=at("2026-07-01") + by_us) for by_us in (-1, 0))
    for facts, found in ((before, 0), (after, 1), (before, 0)):
        assert len(assess(compiled_policy, facts, subject, prepared=kept).findings) == found


@pytest.mark.parametrize(
    ("subject", "day", "expected"),
    [
        (CUBAN, "2026-06-30", True),
        (replace(CUBAN, org_id="org_2"), "2026-06-30", True),
        (replace(CUBAN, org_id="org_1"), "2026-06-30T23:59:59", False),
        (replace(CUBAN, org_id="org_1"), "2026-07-01", True),
        (replace(CUBAN, account_id="acc_9"), "2026-01-01", False),
        (replace(CUBAN, account_id="acc_9"), "2026-12-01", True),
    ],
)
def test_an_exception_holds_until_its_day(subject: Subject, day: str, expected: bool) -> None:
    assert is_found(subject, day) is expected


def said(exceptions: str) -> list[str]:
    extra = f", on_unknown: no_match, exceptions: [{exceptions}]"
    return problems(HEAD + "rules:\n" + rule("r", "{billing_country: CU}", extra=extra))


@pytest.mark.parametrize(
    ("exception", "expected"),
    [
        ("{until: 2026-07-01, reason: why not}", "one org_id or one account_id"),
        ("{org_id: a, account_id: b, until: 2026-07-01, reason: why not}", "one org_id or one"),
        ("{org_id: a, until: 2026-13-01, reason: why not}", "is no date"),
        ("{org_id: a, until: 2026-07-01}", "reason"),
        ("{org_id: a, reason: for ever}", "until"),
        ("{org: a, until: 2026-07-01, reason: why not}", "did you mean org_id?"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(exception: str, expected: str) -> None:
    (first, *_) = [text for text in said(exception) if expected in text]
    assert first.startswith("a.yaml:")


def test_what_is_past_is_warned_of() -> None:
    text = HEAD + "rules:\n" + rule("r", "{billing_country: CU}", extra=EXCEPTIONS)
    for today, count in ((date(2026, 7, 1), 0), (date(2026, 7, 2), 2)):
        report = Report(today)
        file = parse_yaml(text.encode(), "a.yaml", report)
        assert file is not None
        assert compile_policy(Sources("x", (file,)), all_signals(), report) is not None
        assert sum("is past" in str(one) for one in report.problems) == count
