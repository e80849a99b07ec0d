"""What is said of one user of an aggregator touches that user's requests alone."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from gateway.core.sub_users import (
    MAX_LINKED_USERS,
    for_decision,
    for_linking,
    name_of,
    parts_of,
    user_in,
    with_user,
)
from gateway.friction.asking import ask_in
from gateway.linking.exempt import is_exempt
from gateway.model import Decision, Grant, Level, Outcome, Subject, Verdict
from gateway.stores.codec import join, pack, split
from gateway.stores.memory import MemoryStore
from gateway.workers.logged_decisions import LoggedDecision, LogReplay, opinions
from tests.core.builders import FACTS, NOW_US
from tests.core.logged import logging_engine
from tests.policy.builders import HEAD, WHY, compiled

USER, OTHER = "a" * 16, "b" * 16
ORGANIZATION = (Grant(Level.ORGANIZATION, 1),)
SELLER = Subject("seller", version=3, contracts=("aggregator",), grants=ORGANIZATION)
SUSPECTED = ("cl_1", "suspected", 40, 0.75)
POLICY = compiled(
    HEAD
    + f"""
rules:
  - name: suspects
    {WHY}
    when: {{cluster_state: suspected, verification: {{below: identity}}}}
    on_unknown: no_match
    then: {{verify: identity}}
"""
)


async def decided(subject: Subject, *end_users: str | None) -> tuple[list[Decision], list[bytes]]:
    store = MemoryStore(lambda: NOW_US)
    await store.put(replace(subject, version=0), {"k" * 32: "key"})
    engine, lines = logging_engine(POLICY, store, b"sixteen bytes and more")
    found = []
    for end_user in end_users:
        facts = replace(FACTS, credential="k" * 32, end_user=end_user)
        found.append(await engine.decide(facts))
        await engine.finish(facts, found[-1], outcome=Outcome.COMPLETE)
    return found, lines


@pytest.mark.parametrize(
    ("subject", "end_user", "expected"),
    [
        pytest.param(SELLER, USER * 2, USER, id="an aggregator that names its user"),
        pytest.param(SELLER, None, None, id="an aggregator that does not"),
        pytest.param(Subject("other"), USER * 2, None, id="another account"),
    ],
)
def test_who_has_sub_users(subject: Subject, end_user: str | None, expected: str | None) -> None:
    assert user_in(replace(FACTS, end_user=end_user), subject) == expected


async def test_one_linked_user_is_asked_and_nobody_else() -> None:
    linked = with_user(SELLER, USER, SUSPECTED)
    decisions, _ = await decided(linked, USER * 2, OTHER * 2, None, USER * 2)
    verdicts = [one.verdict for one in decisions]
    assert verdicts == [Verdict.VERIFY, Verdict.ALLOW, Verdict.ALLOW, Verdict.VERIFY]
    assert ask_in(decisions[0], POLICY) is None  # nobody's grace begins by what a user did
    subject = decisions[0].subject
    assert subject is not None
    assert (subject.sub_user, subject.cluster_id) == (USER, "cl_1")
    assert user_in(FACTS, subject) == USER  # evidence of a refused request is the user's too


async def test_decisions_on_sub_users_follow_from_the_log() -> None:
    decisions, lines = await decided(with_user(SELLER, USER, SUSPECTED), USER * 2, OTHER * 2)
    assert b"linked_users" not in b"".join(lines)
    for decision, text in zip(decisions, lines, strict=True):
        line = msgspec.json.decode(text, type=LoggedDecision)
        again = await LogReplay(POLICY).decide(line)
        assert again.how == "exact"
        assert again.decision.verdict is decision.verdict
        assert opinions(again.decision) == line.findings


def test_a_watched_user_keeps_what_vouches_for_it() -> None:
    watched = with_user(SELLER, USER, ("cl_1", "watched", 12, 0.3))
    assert for_decision(watched, USER).grants == ORGANIZATION


def test_evidence_of_a_sub_user_knows_nothing_of_the_aggregators_facts() -> None:
    seen = for_linking(replace(SELLER, payment="card", email_domain="seller.example"), USER)
    assert (seen.payment, seen.email_domain, seen.org_id) == (None, None, None)
    assert not is_exempt(seen)
    assert parts_of(seen.account_id) == ("seller", USER)


@pytest.mark.parametrize("name", ["acc_1", "a:user", name_of("seller", USER)])
def test_names_are_read_as_they_were_made(name: str) -> None:
    account_id, user = parts_of(name)
    assert name == (account_id if user is None else name_of(account_id, user))


def test_linked_users_are_bounded_and_the_least_suspected_goes() -> None:
    subject = SELLER
    for n in range(MAX_LINKED_USERS):
        subject = with_user(subject, f"{n:016x}", SUSPECTED)
    full = with_user(subject, USER, ("cl_1", "watched", 12, 0.2))
    assert USER not in full.linked_users
    full = with_user(subject, USER, ("cl_1", "confirmed", 40, 1.0))
    assert USER in full.linked_users
    assert len(full.linked_users) == MAX_LINKED_USERS
    assert with_user(full, USER, None).linked_users.keys() == full.linked_users.keys() - {USER}


def test_the_store_keeps_linked_users() -> None:
    linked = with_user(SELLER, USER, SUSPECTED)
    assert split(join(3, pack(linked))) == linked
