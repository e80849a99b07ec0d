"""What the live path hands on to the linker, and what it never does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.adapters import evidence as module
from gateway.adapters.body import read_body
from gateway.adapters.evidence import MAX_OPENED_BYTES, EvidenceTap
from gateway.app import SystemClock
from gateway.core.keyed import KeyedHash
from gateway.linking.evidence import Extractor, Sight, family
from gateway.linking.linker import Evidence
from gateway.linking.traces import Tracer
from gateway.model import SECOND_US, Grant, Level, RequestFacts, Status, Subject

KEYED = KeyedHash(b"a secret for the tests of evidence")
BODY = (
    b'{"model":"m","temperature":0.2,"top_p":0.9,"max_tokens":100,"messages":'
    b'[{"role":"system","content":"You grade answers by a rubric of nine points."},'
    b'{"role":"user","content":"Grade this answer, please, by the rubric: forty-two it is."}]}'
)
HEADERS = [
    (b"authorization", b"Bearer sk-very-secret"),
    (b"user-agent", b"OpenAI/Python 2.0.0"),
    (b"x-stainless-lang", b"python"),
]
SUBJECT = Subject("acc_1", version=5, payment="p" * 32, created_us=7)
FACTS = RequestFacts(
    *("d" * 26, 1_000_000, "proxy", "POST", "/v1/chat/completions", "openai.chat", "openai"),
    credential="c" * 32,
    client_network="n" * 32,
    user_agent="OpenAI/Python 2.0.0",
    body_bytes=len(BODY),
)


class Taken:
    def __init__(self) -> None:
        self.offered: list[Evidence] = []
        self.tap = EvidenceTap(
            Extractor(KEYED), Tracer(KEYED, ()), self.offered.append, clock=SystemClock()
        )

    def see(
        self, facts: RequestFacts = FACTS, subject: Subject | None = SUBJECT, body: bytes = BODY
    ) -> None:
        self.tap.see(facts, subject, read_body(body, "chat").members, HEADERS)

    def families(self) -> set[str]:
        return {key.family for one in self.offered for key in one.keys}


def test_a_request_is_told_once() -> None:
    taken = Taken()
    for _ in range(100):
        taken.see()
    (one,) = taken.offered
    assert (one.account_id, one.at_us, one.created_us) == ("acc_1", 1_000_000, 7)
    wanted = {"system_prompt", "question_head", "parameters", "network", "client_stack", "payment"}
    assert wanted <= taken.families()
    assert all(len(bytes.fromhex(key.value)) == 8 for key in one.keys)


def test_the_credential_is_no_part_of_how_a_client_looks() -> None:
    first, second = Taken(), Taken()
    first.see()
    members = read_body(BODY, "chat").members
    second.tap.see(FACTS, SUBJECT, members, HEADERS[1:])
    assert first.offered == second.offered


@pytest.mark.parametrize(
    ("facts", "subject"),
    [
        pytest.param(FACTS, None, id="nobody"),
        pytest.param(
            FACTS, replace(SUBJECT, status=Status.PROVISIONAL), id="a key that anyone made up"
        ),
        pytest.param(replace(FACTS, credential=None), SUBJECT, id="no credential"),
    ],
)
def test_who_is_not_known_leaves_no_trace(facts: RequestFacts, subject: Subject | None) -> None:
    taken = Taken()
    taken.see(facts, subject)
    assert taken.offered == []


@pytest.mark.parametrize(
    ("subject", "is_exempt"),
    [
        pytest.param(SUBJECT, False, id="ordinary"),
        pytest.param(replace(SUBJECT, org_id="org_1"), False, id="says it is an organisation"),
        pytest.param(replace(SUBJECT, grants=(Grant(Level.ORGANIZATION, 1),)), True, id="verified"),
        pytest.param(replace(SUBJECT, contracts=("aggregator",)), True, id="contract"),
    ],
)
def test_who_may_share_is_told_as_exempt(subject: Subject, is_exempt: bool) -> None:
    taken = Taken()
    taken.see(subject=subject)
    assert [one.is_exempt for one in taken.offered] == [is_exempt]


def test_how_a_huge_body_begins_is_not_looked_at() -> None:
    taken = Taken()
    taken.see(replace(FACTS, body_bytes=MAX_OPENED_BYTES + 1))
    assert "parameters" in taken.families()
    assert not {"system_prompt", "question_head"} & taken.families()


@pytest.fixture
def broken_family() -> Iterator[None]:
    from gateway.linking import evidence as registry

    @family("broken", next(iter(registry.all_families().values())).block)
    def broken(sight: Sight) -> tuple[str, ...]:
        """Fails on every sight."""
        raise RuntimeError("a bug in a family")

    yield
    del registry._families["broken"]


@pytest.mark.usefixtures("broken_family")
def test_a_bug_in_a_family_costs_nobody_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    taken = Taken()
    for _ in range(module.MAX_COMPLAINTS + 5):
        taken.see()
    assert taken.tap.failures == module.MAX_COMPLAINTS + 5
    assert caplog.text.count("could not be looked at") == module.MAX_COMPLAINTS


# ── answers and refusals ─────────────────────────────────────────────────────────────────────

CALL = "call_Zq3vX81kLmN0pR7sT2uW4yBd"
TURN = (
    b'{"role":"assistant","content":null,"tool_calls":[{"id":"%b","type":"function","function":'
    b'{"name":"f","arguments":"{}"}}]}' % CALL.encode()
)
GOES_ON = (
    b'{"model":"m","messages":[{"role":"user","content":"A question of more than sixty-four '
    b'characters, so that it is not everybody\'s."},%b,{"role":"tool","tool_call_id":"%b",'
    b'"content":"ok"}]}' % (TURN, CALL.encode())
)
INFERENCE = replace(FACTS, is_inference=True)


class Traced(Taken):
    def __init__(self, families: tuple[str, ...] = ("provenance", "echo")) -> None:
        super().__init__()
        self.tap = EvidenceTap(
            Extractor(KEYED, families),
            Tracer(KEYED, families),
            self.offered.append,
            clock=SystemClock(),
        )

    def values(self, family: str) -> set[str]:
        return {key.value for one in self.offered for key in one.keys if key.family == family}


def test_what_an_answer_issues_is_what_a_later_history_returns() -> None:
    taken = Traced()
    taken.tap.see_answer(FACTS, SUBJECT, b'{"choices":[{"message":%b}]}' % TURN)
    taken.see(subject=replace(SUBJECT, account_id="acc_2"), body=GOES_ON)
    assert [one.account_id for one in taken.offered] == ["acc_1", "acc_2"]
    assert taken.values("issued") == taken.values("returned") != set()
    assert CALL not in repr(taken.offered)


def test_a_stream_issues_what_the_whole_answer_does() -> None:
    whole, streamed = Traced(), Traced()
    whole.tap.see_answer(FACTS, SUBJECT, b'{"choices":[{"message":%b}]}' % TURN)
    event = b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"%b"}]}}]}\n\n'
    streamed.tap.see_stream(FACTS, SUBJECT, event % CALL.encode())
    assert whole.values("issued") == streamed.values("issued")


def test_what_we_refuse_and_what_the_model_api_refuses_is_what_is_asked_again() -> None:
    ours, theirs, again = Traced(), Traced(), Traced()
    ours.tap.see_refusal(FACTS, SUBJECT, read_body(GOES_ON, "chat").members)
    theirs.tap.see_failure(FACTS, SUBJECT, GOES_ON)
    again.see(body=GOES_ON)
    assert ours.values("refused") == theirs.values("refused") == again.values("asked") != set()


def test_of_a_busy_account_a_retry_is_told_though_it_is_not_looked_at() -> None:
    taken = Traced()
    second = replace(SUBJECT, account_id="acc_2")
    for _ in range(Extractor.SAMPLED_AFTER):
        taken.see(subject=second)
    taken.offered.clear()
    taken.see(subject=second)
    assert taken.offered == []
    at_us = taken.tap._clock.now_us()
    taken.tap.see_failure(FACTS, SUBJECT, GOES_ON)
    taken.see(replace(FACTS, received_us=at_us + SECOND_US), second, GOES_ON)
    refused, asked = taken.offered
    assert (refused.account_id, asked.account_id) == ("acc_1", "acc_2")
    assert taken.values("refused") == taken.values("asked") != set()


def test_families_that_are_switched_off_read_and_keep_nothing() -> None:
    taken = Traced(())
    taken.tap.see_refusal(FACTS, SUBJECT, read_body(GOES_ON, "chat").members)
    taken.tap.see_failure(FACTS, SUBJECT, GOES_ON)
    taken.see(body=GOES_ON)
    assert taken.offered == []
    assert taken.tap.room_for(INFERENCE, SUBJECT) is None
    assert Traced().tap.room_for(INFERENCE, SUBJECT) is not None


def test_no_answer_is_copied_for_whom_nobody_links() -> None:
    provisional = replace(SUBJECT, status=Status.PROVISIONAL)
    verified = replace(SUBJECT, grants=(Grant(Level.ORGANIZATION, 0),))
    tap = Traced().tap
    assert tap.room_for(INFERENCE, None) is None
    assert tap.room_for(INFERENCE, provisional) is None
    assert tap.room_for(INFERENCE, verified) is None
    assert tap.room_for(FACTS, SUBJECT) is None  # such as a list of models
