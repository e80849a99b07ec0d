"""Preparing an account changes no answer, whatever the policy, the account and the request."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway.signals  # noqa: F401 — registers what we ship
from gateway.core import prepare
from gateway.core.assess import assess
from gateway.core.jitter import Jitter
from gateway.core.keyed import KeyedHash
from gateway.core.prepare import MAX_SHAPES, Preparer, unprepared
from gateway.core.window import SIGHTING, see
from gateway.model import (
    Cost,
    Grant,
    Level,
    Policy,
    Quota,
    RequestFacts,
    SignalFunction,
    SignalSpec,
    Status,
    Subject,
    Verdict,
)
from gateway.policy.load import load_policy
from gateway.registry import all_signals

from .builders import FACTS, NOW_US, SUBJECT, limit, policy, rule

POLICIES = Path(__file__).parents[2] / "policies"
SPECS = tuple(all_signals().values())
SHIPPED = [load_policy(POLICIES / name) for name in ("enforce", "observe")]
EVERYTHING = policy(
    rule("old", Verdict.DENY, when=lambda values: values[_at("account_age_s")] is None),
    rule("big", Verdict.DENY, when=lambda values: bool(values[_at("items")])),
    *(
        limit(f"by-{spec.name}", scope="v", scope_signal=number, fields=(number, 0))
        for number, spec in enumerate(SPECS)
    ),
    limit("tokens", cost=Cost.TOTAL_TOKENS, scope="g", scope_signal=None),
    limit("all", scope="g", scope_signal=None),
    limit("spread", scope="g", scope_signal=None, shards=4),
    limit("held", Quota(4, 0, 4), cost=Cost.CONCURRENCY),
    signals=SPECS,
)


def _at(name: str) -> int:
    return [spec.name for spec in SPECS].index(name)


def maybe(*values: object) -> st.SearchStrategy[object]:
    return st.sampled_from([None, *values])


instants = st.sampled_from([NOW_US - 10**13, NOW_US, NOW_US + 1, NOW_US + 10**13])
subjects = st.builds(
    Subject,
    account_id=st.sampled_from(["acc_1", "acc_2"]),
    version=st.integers(0, 2),
    status=st.sampled_from(Status),
    created_us=st.none() | instants,
    org_id=maybe("org_1"),
    tier=maybe("start", "scale", "other"),
    email_domain=maybe("example.org", "mailinator.com"),
    billing_country=maybe("DE"),
    signup_path=maybe("education", "standard"),
    grants=st.lists(
        st.builds(Grant, st.sampled_from(Level), instants, st.none() | instants), max_size=2
    ).map(tuple),
    contracts=st.sampled_from([(), ("bulk",), ("aggregator",)]),
    sub_users=st.booleans(),
    quotas=st.sampled_from([{}, {"account-requests": "5/min"}]),
    cluster_id=maybe("c_1"),
    cluster_state=maybe("watched", "suspected", "confirmed", "dismissed"),
    cluster_since_us=st.none() | instants,
    suspicion=maybe(0.4, 0.9),
)
requests = st.builds(
    lambda **changes: replace(FACTS, **changes),
    received_us=instants,
    credential=maybe("c" * 32),
    client_network=maybe("n" * 32),
    model=maybe("m-1", "claude-opus-4"),
    items=st.sampled_from([1, 1, 3, 20_000]),
    is_inference=st.booleans(),
    end_user=maybe("u" * 32),
    estimated_input_tokens=st.sampled_from([0, 100, 10**7]),
    stream=maybe(True, False),
)


@pytest.mark.parametrize(
    "compiled", [*SHIPPED, EVERYTHING], ids=["enforce", "observe", "every signal"]
)
@given(subject=subjects, asked=st.lists(requests, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_prepared_account_gets_the_answers_of_one_that_is_not(
    compiled: Policy, subject: Subject, asked: list[RequestFacts]
) -> None:
    credential = asked[0].credential
    prepared = Preparer(compiled).prepare(subject, credential=credential)
    for facts in asked:
        facts = replace(facts, credential=credential)
        assert assess(compiled, facts, subject, prepared) == assess(compiled, facts, subject)


@given(name=st.text(max_size=8), facts=requests)
@settings(max_examples=50, deadline=None)
def test_strangers_share_what_is_prepared(name: str, facts: RequestFacts) -> None:
    stranger = Subject(name, status=Status.PROVISIONAL)
    for compiled in (*SHIPPED, EVERYTHING):
        shared = Preparer(compiled).strangers
        assert assess(compiled, facts, stranger, shared) == assess(compiled, facts, stranger)


def test_each_fact_that_a_signal_looks_at_is_left_for_the_request() -> None:
    """A signal reads the one fact that differs; were it kept, the second answer would be wrong."""
    for field in fields(RequestFacts):
        spec = SignalSpec("s", str, True, _reading(field.name), "")
        compiled = policy(signals=(spec,))
        prepared = Preparer(compiled).prepare(SUBJECT)
        for value in ("one", "other"):
            changed: dict[str, Any] = {field.name: value}
            facts = replace(FACTS, **changed)
            assert assess(compiled, facts, SUBJECT, prepared).values == (value,)


def _reading(name: str) -> SignalFunction:
    return lambda facts, subject: getattr(facts, name)


def test_a_signal_that_hides_its_errors_is_not_taken_for_one_that_knows() -> None:
    def hiding(facts: RequestFacts, subject: Subject) -> object:
        try:
            return facts.model
        except Exception:
            return "nothing"

    compiled = policy(signals=(SignalSpec("hiding", str, True, hiding, ""),))
    prepared = Preparer(compiled).prepare(SUBJECT)
    assert assess(compiled, FACTS, SUBJECT, prepared).values == (FACTS.model,)


def test_a_signal_that_needs_real_facts_gets_them() -> None:
    def counting(facts: RequestFacts, subject: Subject) -> object:
        return len(fields(facts))

    compiled = policy(signals=(SignalSpec("counting", int, False, counting, ""),))
    prepared = Preparer(compiled).prepare(SUBJECT)
    assert assess(compiled, FACTS, SUBJECT, prepared).values == (len(fields(FACTS)),)


def test_a_condition_over_all_values_is_left_for_the_request() -> None:
    compiled = policy(rule("any", Verdict.DENY, when=lambda values: "m-1" in values[:]))
    prepared = Preparer(compiled).prepare(SUBJECT)
    assert [finding.rule for finding in assess(compiled, FACTS, SUBJECT, prepared).findings] == [
        "any"
    ]


def test_what_the_account_decides_is_not_asked_again() -> None:
    compiled = SHIPPED[0]
    paid = replace(SUBJECT, grants=(Grant(Level.IDENTITY, NOW_US),), email_domain="example.org")
    prepared = Preparer(compiled).prepare(paid, credential="c" * 32)
    names = {rule.name for _, rule in prepared.rules}
    assert "disposable-mail" not in names
    assert "oversized-batch" in names, "it asks how many items the request has"
    assert {one.limit.name for one in prepared.limits if one.ready is not None} >= {
        *("account-requests", "account-concurrency", "org-requests"),
    }
    assert len(prepared.asked) < len(compiled.signals)


def test_an_account_that_is_verified_is_not_asked_for_its_model() -> None:
    """The rule names the model first, which only a request tells."""
    preparer = Preparer(SHIPPED[0])
    known = replace(SUBJECT, created_us=NOW_US, grants=(Grant(Level.EMAIL, NOW_US),))
    open_rules = [
        {rule.name for _, rule in preparer.prepare(subject).rules}
        for subject in (known, replace(known, grants=()))
    ]
    assert "premium-before-mail" not in open_rules[0]
    assert "premium-before-mail" in open_rules[1]


def test_a_grant_that_runs_out_is_looked_at_with_each_request() -> None:
    compiled = policy(signals=(all_signals()["verification"],))
    subject = replace(SUBJECT, grants=(Grant(Level.PHONE, NOW_US, NOW_US + 5),))
    prepared = Preparer(compiled).prepare(subject)
    found = [
        assess(compiled, replace(FACTS, received_us=at), subject, prepared).values[0]
        for at in (NOW_US + 4, NOW_US + 5)
    ]
    assert found == [Level.PHONE, Level.NONE]


def test_alike_accounts_share_what_is_left_to_be_asked() -> None:
    preparer = Preparer(SHIPPED[0])
    one, other = (preparer.prepare(replace(SUBJECT, account_id=name)) for name in ("a", "b"))
    assert one.asked is other.asked
    assert one.rules is other.rules


def test_what_accounts_share_is_bounded() -> None:
    kept: dict[int, int] = {}
    for number in range(3 * MAX_SHAPES):
        prepare._shared(kept, number, number)
    assert len(kept) <= MAX_SHAPES


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        pytest.param(SUBJECT, False, id="not linked"),
        pytest.param(
            replace(SUBJECT, cluster_id="c_1", cluster_state="suspected"), True, id="suspected"
        ),
        pytest.param(
            replace(SUBJECT, cluster_id="c_1", cluster_state="dismissed"), False, id="dismissed"
        ),
    ],
)
def test_only_a_limit_by_cluster_holds_for_one_epoch_alone(
    subject: Subject, expected: bool
) -> None:
    jitter = Jitter(KeyedHash(b"a secret of sixteen bytes"), 7)
    assert Preparer(SHIPPED[0]).prepare(subject, jitter=jitter).is_jittered is expected


def test_unprepared_asks_everything_and_drops_no_rule() -> None:
    compiled = SHIPPED[0]
    everything = unprepared(compiled, SUBJECT)
    assert len(everything.asked) == len(compiled.signals)
    assert [rule for _, rule in everything.rules] == list(compiled.rules)


sightings = st.tuples(
    st.integers(0, 3 * 86_400),  # seconds before the request
    st.sampled_from([0, 1, 2, 6, 8]),
    st.integers(0, 31),
    st.sampled_from([0, ord("D") << 8 | ord("E"), ord("A") << 8 | ord("U")]),
)


@given(st.lists(sightings, max_size=6), maybe("DE", "FR", "QQ"))
def test_what_is_read_off_one_window_is_what_each_signal_reads(
    seen: list[tuple[int, int, int, int]], country: str | None
) -> None:
    now_s, window = NOW_US // 1_000_000, None
    for ago_s, flags, bit, code in sorted(seen, reverse=True):
        sighting = SIGHTING.pack(now_s - ago_s, 1, 20, 30, flags, *[bit] * 6, 255, bit, code)
        window = see(window, sighting, now_s)
    facts = replace(FACTS, window=window, country=country)
    compiled = policy(signals=SPECS)
    expected = tuple(spec.read(facts, SUBJECT) for spec in SPECS)
    assert assess(compiled, facts, SUBJECT).values == expected
    assert assess(compiled, facts, SUBJECT, Preparer(compiled).prepare(SUBJECT)).values == expected
    assert sum(spec.of_window is not None for spec in SPECS) > 20
