"""Each reaction by itself: what an operator and a customer do about one refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.loadtests.worlds.customers import CustomerDesk
from gateway.loadtests.worlds.days import DAY_S
from gateway.loadtests.worlds.desk import Desk, Sent
from gateway.loadtests.worlds.faces import Faces
from gateway.loadtests.worlds.facts import account_id
from gateway.loadtests.worlds.ledger import Ledger
from gateway.loadtests.worlds.load import load_script
from gateway.loadtests.worlds.operators import MAX_ATTEMPTS, Operator
from gateway.loadtests.worlds.reactions import (
    MAX_OBEYED_S,
    MAX_REST_S,
    REST_S,
    OperatorReactions,
    People,
)
from gateway.loadtests.worlds.refusals import REFUSED_S, Refusal
from gateway.loadtests.worlds.schema import RawReacts
from gateway.loadtests.worlds.workshop import Workshop
from gateway.loadtests.worlds.world import World
from gateway.model import Level, Verdict

from .builders import campaign, made

SCRIPT = load_script()
THROTTLE, VERIFY, DENY = Verdict.THROTTLE, Verdict.VERIFY, Verdict.DENY
IDENTITY = Refusal(VERIFY, level=Level.IDENTITY, lasts_s=DAY_S, most_accounts=1)
FIXED = campaign(relay={"standby": 0.1, "bans_per_day": 0.0, "outages_per_day": 0.0})
ALL_USED = campaign(relay={"standby": 0.0, "bans_per_day": 0.0, "replaced_within_h": 2.0})


class Played:
    """One operator with its pool, told by hand what a gateway answered."""

    def __init__(self, world: World, **knobs: Any) -> None:
        self.world = world
        (self.pool,) = world.pools
        self.desk = Desk(world.plan, world.addresses)
        self.ledger = Ledger(world.plan.start_s + 30 * DAY_S)
        self.reactions = OperatorReactions(
            self.pool,
            RawReacts(
                **{"verifies": 0.0, "buys_daily": 0.0, "slows_below": 0.0, "presses": 1e6, **knobs}
            ),
            SCRIPT,
            self.ledger,
            seed=world.plan.seed,
            first_bought=world.account_count,
        )
        faces = Faces(world.customers, world.plan, world.addresses)
        shop = Workshop(self.pool, world.customers, faces)
        self.operator = Operator(self.pool, shop, self.desk, -1, self.reactions)
        self.start_s = self.pool.begins_s

    def send(self, after_s: float = 0.0) -> Sent:
        sent = self.operator.call(self.start_s + after_s, None)
        assert sent is not None
        return sent

    def refuse(self, sent: Sent, refusal: Refusal) -> None:
        sent.conversation.unanswer(sent.before, sent.at_s + REFUSED_S)
        self.operator.refused(sent, refusal)

    def active(self, after_s: float) -> set[int]:
        return set(self.operator.active_at(self.start_s + after_s))


def names(world: World, *accounts: int) -> set[str]:
    return {account_id(world.plan.seed, account) for account in accounts}


# ── operators ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("said_s", "rest_s"), [(5.0, 5.0), (None, REST_S), (10 * MAX_REST_S, MAX_REST_S)]
)
def test_a_throttled_account_rests_as_long_as_it_is_told_within_bounds(
    tmp_path: Path, said_s: float | None, rest_s: float
) -> None:
    played = Played(made(tmp_path, campaign=FIXED))
    sent = played.send()
    played.refuse(sent, Refusal(THROTTLE, said_s))
    assert sent.account not in played.active(rest_s - 0.5)
    assert sent.account in played.active(rest_s + 0.5)
    assert played.reactions.tally.lost == set()


def test_what_is_refused_goes_to_another_account_within_the_failover_seconds(
    tmp_path: Path,
) -> None:
    played = Played(made(tmp_path, campaign=FIXED))
    sent = played.send()
    played.refuse(sent, Refusal(THROTTLE, 1.0))
    (later,) = played.desk.later
    low, high = played.pool.campaign.raw.relay.failover_s
    assert later.account != sent.account
    assert low <= later.at_s - sent.at_s - REFUSED_S <= high
    again = played.operator.again(later)
    assert again is not None
    assert again.body == sent.body
    assert again.request.account_id != sent.request.account_id


def test_content_is_tried_so_often_and_no_more(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=FIXED))
    sent, tries = played.send(), 1
    played.refuse(sent, Refusal(THROTTLE, 1.0))
    while played.desk.later:
        found = played.operator.again(played.desk.later.pop())
        assert found is not None
        played.refuse(found, Refusal(THROTTLE, 1.0))
        tries += 1
    assert tries == MAX_ATTEMPTS + 1


def test_a_refused_exchange_leaves_no_answer_behind(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=FIXED))
    sent = next(s for s in (played.send(n) for n in range(50)) if s.conversation.app.turns > 1)
    conv, before = sent.conversation, sent.before
    assert conv.before_answer() != before
    played.refuse(sent, Refusal(THROTTLE, 1.0))
    assert conv.before_answer() == before
    (later,) = played.desk.later
    assert later.conversation is conv


def test_a_denied_account_is_lost_and_one_from_the_reserve_takes_its_place(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=FIXED))
    before = played.active(0)
    sent = played.send()
    played.refuse(sent, Refusal(DENY))
    after = played.active(1)
    assert sent.account not in after
    assert len(after) == len(before)
    (fresh,) = after - before
    assert fresh not in {tenure.account for tenure in played.pool.tenures}
    assert played.reactions.tally.lost == names(played.world, sent.account)
    assert played.reactions.tally.from_reserve == 1
    assert sent.account not in played.active(3 * DAY_S)


def test_asked_for_an_identity_an_account_pays_waits_and_is_back(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=FIXED), verifies=1.0)
    sent = played.send()
    played.refuse(sent, IDENTITY)
    delay_s = SCRIPT.operator.identity.delay_s
    assert sent.account not in played.active(delay_s - 1)
    assert sent.account in played.active(delay_s + 2)
    (event,) = played.ledger.take_events()
    assert event == {
        "ts": sent.at_s + delay_s,
        "event": "verified",
        "account_id": sent.request.account_id,
        "level": "identity",
        "expires_at": sent.at_s + delay_s + DAY_S,
    }
    assert played.reactions.tally.passed == {"identity": 1}
    assert played.reactions.tally.proofs == {"identity": 1}


def test_one_proof_serves_as_many_accounts_as_rule_and_script_allow(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=FIXED), verifies=1.0)
    for _ in range(SCRIPT.operator.phone.serves):
        played.refuse(played.send(), Refusal(VERIFY, level=Level.PHONE))
    assert played.reactions.tally.proofs == {"phone": 1}


def test_asked_again_for_what_it_has_passed_the_account_is_lost(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=FIXED), verifies=1.0)
    sent = played.send()
    played.refuse(sent, IDENTITY)
    later_s = SCRIPT.operator.identity.delay_s + 2
    again = next(s for s in (played.send(later_s) for _ in range(99)) if s.account == sent.account)
    played.refuse(again, IDENTITY)
    assert played.reactions.tally.lost == {sent.request.account_id}


def test_only_a_share_of_accounts_verifies(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=FIXED), verifies=0.4)
    for n in range(50):
        played.refuse(played.send(n / 100), IDENTITY)
    tally = played.reactions.tally
    assert 10 <= tally.passed["identity"] <= 30
    assert tally.passed["identity"] + len(tally.lost) == tally.asked["identity"] == 50


def test_lost_accounts_are_bought_anew_within_the_budget_of_a_day(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=ALL_USED), buys_daily=0.05)
    before = played.active(0)
    for n in range(8):
        played.refuse(played.send(n), Refusal(DENY))
    wait_s = 2 * 3600.0 + 10
    assert len(played.active(wait_s)) == len(before) - 8 + 3  # a twentieth of 60
    assert len(played.active(DAY_S + wait_s)) == len(before) - 8 + 3  # bought, not yet at work
    assert len(played.active(DAY_S + 2 * wait_s)) == len(before) - 8 + 6
    assert played.reactions.tally.bought == 6
    events = played.ledger.take_events()
    assert [event["event"] for event in events] == ["created"] * 6
    fresh = names(played.world, *(played.active(DAY_S + 2 * wait_s) - before))
    assert {event["account_id"] for event in events} == fresh
    for event in events[:3]:
        assert event["ts"] - 1 < event["created_at"] <= event["ts"]
        assert event["key_ids"]


def test_the_last_accounts_are_not_driven_beyond_what_the_operator_dares(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=campaign(accounts=3, exchanges=240)), presses=2.0)
    most = 2.0 * played.pool.per_account_day
    for n in range(300):  # while nobody has been refused, nothing is held back
        sent = played.send(n)
        played.operator.answered(sent)
    played.refuse(sent, Refusal(DENY))
    assert played.operator.call(played.start_s + 400, None) is None
    per_account: dict[int, int] = {}
    for n in range(400):
        following = played.operator.call(played.start_s + DAY_S + n, None)
        if following is not None:
            played.operator.answered(following)
            per_account[following.account] = per_account.get(following.account, 0) + 1
    assert len(per_account) == 2
    assert all(most <= count < most + 1 for count in per_account.values())


def test_a_pool_with_nobody_left_sends_nothing(tmp_path: Path) -> None:
    played = Played(made(tmp_path, campaign=campaign(accounts=2, exchanges=160)))
    while (sent := played.operator.call(played.start_s + 1, None)) is not None:
        played.refuse(sent, Refusal(DENY))
    assert played.active(2) == set()
    assert played.reactions.tally.wanted > len(played.reactions.tally.lost)


def test_an_operator_that_is_hardly_served_slows_down_and_no_other_does(tmp_path: Path) -> None:
    world = made(tmp_path, campaign=FIXED)
    for served_of_ten, is_slower in ((1, True), (5, False)):
        played = Played(world, slows_below=0.2, slows_to=0.25)
        for n in range(800):
            played.reactions.note(played.start_s + n * 36.0, served=n % 10 < served_of_ten)
        assert (played.reactions.tally.slowed_s is not None) == is_slower
        out = sum(played.reactions.leaves_out() for _ in range(1000))
        assert (650 < out < 850) if is_slower else out == 0


def test_a_pool_whose_accounts_keep_their_day_calls_through_others_when_one_is_lost(
    tmp_path: Path,
) -> None:
    played = Played(made(tmp_path, campaign=FIXED, knobs={"human_day": True}))
    account = played.pool.first
    sent = played.operator.call(played.start_s + 1, account)
    assert sent is not None
    assert sent.account == account
    played.refuse(sent, Refusal(DENY))
    again = played.operator.call(played.start_s + 2, account)
    assert again is not None
    assert again.account != account


# ── customers ────────────────────────────────────────────────────────────────────────────────


class Customer:
    """One customer's desk, told by hand what a gateway answered."""

    def __init__(self, world: World, days: float = 30) -> None:
        self.desk = Desk(world.plan, world.addresses)
        self.ledger = Ledger(world.plan.start_s + days * DAY_S)
        self.people = People(SCRIPT, world.plan.seed, self.ledger)
        faces = Faces(world.customers, world.plan, world.addresses)
        self.at_s = world.plan.start_s + 1
        self.customers = CustomerDesk(self.desk, faces, self.people)
        self.tally = self.ledger.of_class("ordinary")

    def send(self, index: int = 0, after_s: float = 0.0) -> Sent:
        return self.customers.call(index, self.at_s + after_s)

    def refuse(self, sent: Sent, refusal: Refusal) -> None:
        sent.conversation.unanswer(sent.before, sent.at_s + REFUSED_S)
        self.customers.refused(sent, refusal)


def test_a_throttled_customer_sends_the_same_again_after_retry_after_twice_at_most(
    tmp_path: Path,
) -> None:
    played = Customer(made(tmp_path))
    sent = first = played.send()
    for attempt in (1, 2):
        played.refuse(sent, Refusal(THROTTLE, 7.0))
        later = played.desk.later.pop()
        assert later.at_s == pytest.approx(sent.at_s + REFUSED_S + 7.0)
        sent = played.customers.again(later)
        assert (sent.body, sent.account, sent.attempt) == (first.body, first.account, attempt)
        assert sent.was_refused
    played.refuse(sent, Refusal(THROTTLE, 7.0))
    assert played.desk.later == []
    assert played.tally.retried == 2
    assert played.tally.gave_up == {"throttle": 1}


@pytest.mark.parametrize("said_s", [None, MAX_OBEYED_S + 1])
def test_an_sdk_waits_as_after_any_failure_where_retry_after_is_missing_or_too_long(
    tmp_path: Path, said_s: float | None
) -> None:
    played = Customer(made(tmp_path))
    sent = played.send()
    played.refuse(sent, Refusal(THROTTLE, said_s))
    assert played.desk.later[0].at_s == pytest.approx(sent.at_s + REFUSED_S + 0.5)


def test_a_retry_that_is_served_goes_on_as_any_conversation(tmp_path: Path) -> None:
    played = Customer(made(tmp_path))
    sent = played.send()
    played.refuse(sent, Refusal(THROTTLE, 1.0))
    again = played.customers.again(played.desk.later.pop())
    played.ledger.count(again, None, "ordinary", is_suspected=False)
    played.customers.answered(again)
    assert played.tally.retried_served == 1
    assert again.conversation.before_answer() != again.before


def test_a_denied_customer_gives_the_exchange_up(tmp_path: Path) -> None:
    played = Customer(made(tmp_path))
    played.refuse(played.send(), Refusal(DENY))
    assert played.desk.later == []
    assert played.tally.gave_up == {"deny": 1}
    assert played.ledger.take_events() == []


def test_a_person_verifies_in_their_own_time_and_is_asked_once_meanwhile(tmp_path: Path) -> None:
    played = Customer(made(tmp_path))
    sent = played.send()
    played.refuse(sent, Refusal(VERIFY, level=Level.EMAIL))
    delay_s = SCRIPT.honest.email.delay_s
    played.refuse(played.send(after_s=delay_s / 2), Refusal(VERIFY, level=Level.EMAIL))
    (event,) = played.ledger.take_events()
    assert event == {
        "ts": sent.at_s + delay_s,
        "event": "verified",
        "account_id": sent.request.account_id,
        "level": "email",
    }
    assert (played.tally.asked, played.tally.passed) == ({"email": 1}, {"email": 1})
    assert played.tally.minutes_lost == {"email": round(delay_s / 60)}


def test_a_share_of_people_never_verifies_and_is_counted(tmp_path: Path) -> None:
    played = Customer(made(tmp_path))
    for index in range(100):
        for after_s in (0, DAY_S):
            sent = played.send(index, after_s)
            played.refuse(sent, Refusal(VERIFY, level=Level.ORGANIZATION))
            if played.tally.passed["organization"] + played.tally.gave_up["organization"] > index:
                break
    gave_up, passed = played.tally.gave_up["organization"], played.tally.passed["organization"]
    assert gave_up + passed == played.tally.asked["organization"] == 100
    assert 15 <= gave_up <= 45  # 300 of 1000 in the script
    assert len(played.ledger.take_events()) == passed


def test_who_is_asked_too_late_is_still_at_it_when_the_run_ends(tmp_path: Path) -> None:
    played = Customer(made(tmp_path), days=0.1)
    for index in range(20):
        played.refuse(played.send(index), Refusal(VERIFY, level=Level.IDENTITY))
    assert played.tally.waiting["identity"] + played.tally.gave_up["identity"] == 20
    assert played.tally.waiting["identity"] > 10
    assert played.ledger.take_events() == []
