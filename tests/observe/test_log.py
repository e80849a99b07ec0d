"""The decision log: written without blocking, read back, enough to decide the same again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest

from gateway.core.assess import assess
from gateway.core.judge import judge
from gateway.core.keyed import KeyedHash
from gateway.model import (
    SECOND_US,
    ChargeReply,
    Exchange,
    Grant,
    Identity,
    Level,
    Outcome,
    StepResult,
    Subject,
    Usage,
    Verdict,
)
from gateway.observe.decision_log import DecisionLog
from gateway.observe.explain import explain
from gateway.observe.ids import DecisionIds, id_time_us
from gateway.observe.log_line import LineEncoder, facts_of, subject_of
from gateway.observe.log_reader import find_decision, read_decisions
from gateway.observe.process_log import Occasionally, redact
from tests.core.builders import FACTS, NOW_US, limit, policy, rule

PAST_US = 1_700_000_000 * SECOND_US  # before the files are written, as it is in life
KEYED = KeyedHash(b"a secret for the log's tests")
SUBJECT = Subject(
    "acc_secret",
    version=9,
    pseudonym="p" * 24,
    org_id="org_secret",
    tier="start",
    grants=(Grant(Level.EMAIL, 5, 10),),
    quotas={"l": "9/min"},
    contracts=("aggregator",),
)


@dataclass(frozen=True, slots=True)
class Rotation:
    max_bytes: int = 1 << 20
    max_age_s: float = 3600.0
    keep: int = 3


class Fixed:
    def __init__(self) -> None:
        self.current = policy(
            rule("prove", Verdict.VERIFY, level=Level.PHONE, source="rules.yaml:7"), limit("l")
        )


def an_exchange(decision_id: str = "01M8473JSBQ1EAVHRHA0H2AZEB") -> Exchange:
    source = Fixed().current
    facts = replace(FACTS, decision_id=decision_id, temperature=0.5)
    assessment = assess(source, facts, SUBJECT)
    reply = ChargeReply(NOW_US, (StepResult(True, NOW_US + SECOND_US),), applied=True)
    decision = judge(source, facts, Identity(SUBJECT, "key_1"), assessment, reply)
    return Exchange(facts, decision, Outcome.REFUSED, Usage(3, 1, 2), None, NOW_US + 9)


def a_line(exchange: Exchange) -> dict[str, object]:
    line: dict[str, object] = orjson.loads(LineEncoder(KEYED).encode(exchange, Fixed().current))
    return line


def test_a_line_names_nobody() -> None:
    text = LineEncoder(KEYED).encode(an_exchange(), Fixed().current).decode()
    assert "acc_secret" not in text
    assert "org_secret" not in text
    assert SUBJECT.pseudonym is not None
    assert SUBJECT.pseudonym in text


def test_values_of_another_policy_are_left_out_so_that_no_id_slips_under_another_name() -> None:
    exchange = an_exchange()
    swapped = replace(Fixed().current, revision="f" * 12)
    line = orjson.loads(LineEncoder(KEYED).encode(exchange, swapped))
    assert line["signals"] == {}
    assert a_line(exchange)["signals"] != {}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer SECRETVALUE",
        "authorization: Basic SECRETVALUE",
        "{'authorization': 'Bearer SECRETVALUE'}",
        "(b'x-api-key', b'SECRETVALUE')",
        '{"password": "SECRETVALUE"}',
        "redis://user:SECRETVALUE@host:6379/0",
        "key sk-abcdefSECRETVALUE was refused",
        "token=SECRETVALUE",
    ],
)
def test_no_credential_gets_into_the_process_log(text: str) -> None:
    assert "SECRETVALUE" not in redact(text)
    assert "[redacted]" in redact(text)


def test_one_complaint_of_many_is_told_with_where_it_was_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    complaint = Occasionally(logging.getLogger("hydragate.test"))
    for _ in range(3):
        try:
            raise ZeroDivisionError("a mistake of ours")
        except ZeroDivisionError as error:
            complaint.warn("it could not be scored", error)
    (said,) = caplog.records
    assert said.getMessage() == "it could not be scored"
    assert said.exc_info is not None
    assert said.exc_info[0] is ZeroDivisionError


def test_ordinary_words_stay() -> None:
    said = "the token, kept in the data directory, has not changed; worker 1 ended with 0"
    assert redact(said) == said


def test_facts_and_subject_come_back_as_the_policy_saw_them() -> None:
    exchange = an_exchange()
    line = a_line(exchange)
    assert facts_of(line) == exchange.facts
    back = subject_of(line)
    assert back is not None
    hidden = {"account_id": "", "org_id": None, "pseudonym": None, "version": 0}
    assert replace(back, **hidden) == replace(SUBJECT, **hidden)  # type: ignore[arg-type]


def test_a_line_decides_the_same_again() -> None:
    exchange, source = an_exchange(), Fixed().current
    line = a_line(exchange)
    subject = subject_of(line)
    assert subject is not None
    again = assess(source, facts_of(line), subject)
    results = tuple(StepResult(ok, level) for ok, level in line["results"])  # type: ignore[attr-defined]
    reply = ChargeReply(line["decided_us"], results, applied=True)  # type: ignore[arg-type]
    decided = judge(source, facts_of(line), Identity(subject, None), again, reply)
    was = exchange.decision
    assert (decided.verdict, decided.would_be, decided.reason) == (
        was.verdict,
        was.would_be,
        was.reason,
    )
    assert decided.findings == was.findings


def written(folder: Path, count: int, rotation: Rotation | None = None) -> DecisionLog:
    """The closed log after `count` exchanges."""
    log = DecisionLog(
        folder, worker=0, policies=Fixed(), keyed=KEYED, rotation=rotation or Rotation()
    )
    ids = DecisionIds()
    for number in range(count):
        log.record(an_exchange(ids.new_id(PAST_US + number * 1000)))
    log.close()
    return log


def test_every_line_is_written_and_found_by_its_id(tmp_path: Path) -> None:
    log = written(tmp_path, 50)
    assert (log.written, log.dropped) == (50, 0)
    found = list(read_decisions(tmp_path))
    assert len(found) == 50
    assert find_decision(tmp_path, found[17]["id"]) == found[17]
    assert find_decision(tmp_path, DecisionIds().new_id(NOW_US)) is None
    assert find_decision(tmp_path, "../../etc/passwd") is None


@pytest.mark.parametrize("tail", [b'{"id":"half', b"\xff\xfe garbage\n", b"[]\n"])
def test_a_broken_line_costs_no_other(tmp_path: Path, tail: bytes) -> None:
    written(tmp_path, 2)
    with (tmp_path / "decisions-0.jsonl").open("ab") as file:
        file.write(tail)
    assert len(list(read_decisions(tmp_path))) == 2
    again = written(tmp_path, 1)
    assert again.written == 1
    assert len(list(read_decisions(tmp_path))) == 3


def test_what_cannot_be_written_is_counted_and_later_lines_go_on(tmp_path: Path) -> None:
    full = tmp_path / "decisions-0.jsonl"
    full.symlink_to("/dev/full")
    log = written(tmp_path, 3)
    assert (log.written, log.dropped) == (0, 3)
    full.unlink()
    assert written(tmp_path, 2).written == 2


EXPLANATIONS: list[tuple[str, Callable[[dict[str, object]], dict[str, object]], str]] = [
    ("the rule, its reason and place", lambda line: line, "- prove (enforce): verify"),
    ("its why", lambda line: line, "because [rules.yaml:7]"),
    ("what was asked", lambda line: line, "POST /v1/chat/completions, model m-1"),
    ("the kill switch", lambda line: line | {"shadow_all": True}, "kill switch was on"),
    ("a degraded one", lambda line: line | {"degraded": ["l"]}, "store did not answer"),
    ("another revision", lambda line: line | {"policy": "other"}, "decided by policy revision"),
    ("a ban", lambda line: line | {"reason": "account_banned"}, "accounts unban"),
]


@pytest.mark.parametrize(
    ("change", "said"), [(c, s) for _, c, s in EXPLANATIONS], ids=[n for n, _, _ in EXPLANATIONS]
)
def test_an_explanation_says(
    change: Callable[[dict[str, object]], dict[str, object]], said: str
) -> None:
    line = change(a_line(an_exchange()))
    assert said in explain(line, Fixed().current, "acc_1")["text"]


def test_ids_sort_by_time_and_tell_it() -> None:
    ids = DecisionIds()
    made = [ids.new_id(NOW_US + number * 1000) for number in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert all(len(one) == 26 for one in made)
    assert [id_time_us(one) for one in made[:3]] == [NOW_US, NOW_US + 1000, NOW_US + 2000]
    assert id_time_us("not an id") is None


def test_a_quota_shows_in_words() -> None:
    text = explain(a_line(an_exchange()), Fixed().current)["text"]
    assert "Limit l: 9 per 60 s" in text  # the account's own, not the limit's 10
