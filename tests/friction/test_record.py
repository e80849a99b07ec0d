"""The record's own laws: bounds, one use, nothing forgotten that is owed."""

from __future__ import annotations

import pytest

from gateway.friction.ladder import held_level, steps_for
from gateway.friction.record import (
    ABANDONED_US,
    CODE_TTL_US,
    EMPTY,
    MAX_APPEAL_CHARS,
    MAX_ATTEMPTS,
    MAX_GRANTS,
    MAX_OUTBOX,
    MAX_PROOFS,
    MAX_SESSIONS,
    SESSION_TTL_US,
    Appeal,
    Outcome,
    Session,
    abandoned,
    answered,
    appealed,
    begin,
    close_session,
    find_session,
    granted,
    offer_code,
    open_session,
    pending_code,
    revoked,
    try_code,
    with_proof,
)
from gateway.model import Grant, Level, Subject

NOW = 1_800_000_000_000_000
SENT = offer_code(EMPTY, digest=b"d" * 16, proof="em:1", shown="a…@b.org", now_us=NOW)


def test_opening_a_page_again_changes_nothing() -> None:
    once = begin(EMPTY, Level.EMAIL, "rule", NOW)
    assert begin(once, Level.EMAIL, "rule", NOW + 1) is once


def test_a_code_holds_for_its_time_and_so_many_attempts() -> None:
    assert pending_code(SENT, NOW + CODE_TTL_US - 1) is not None
    assert pending_code(SENT, NOW + CODE_TTL_US) is None
    record = SENT
    for _ in range(MAX_ATTEMPTS):
        record, outcome = try_code(record, matches=False, now_us=NOW)
        assert outcome is Outcome.WRONG_CODE
    assert try_code(record, matches=True, now_us=NOW) == (record, Outcome.NO_CODE)


def test_the_right_code_changes_nothing_by_itself() -> None:
    assert try_code(SENT, matches=True, now_us=NOW) == (SENT, Outcome.PASSED)


def test_sessions_are_few_short_and_told_once() -> None:
    record = EMPTY
    for number in range(MAX_SESSIONS + 2):
        record = open_session(
            record, nonce=f"n{number}", provider="p", level=Level.PHONE, now_us=NOW
        )
    assert [one.nonce for one in record.sessions] == ["n2", "n3", "n4", "n5"]
    asked = {"nonce": "n5", "provider": "p"}
    assert isinstance(find_session(record, **asked, now_us=NOW), Session)
    assert find_session(record, nonce="n5", provider="q", now_us=NOW) is Outcome.UNKNOWN_SESSION
    late = NOW + SESSION_TTL_US
    assert find_session(record, **asked, now_us=late) is Outcome.UNKNOWN_SESSION
    closed = close_session(record, "n5", NOW)
    assert find_session(closed, **asked, now_us=NOW) is Outcome.DUPLICATE


def test_a_grant_spends_the_code_and_owes_the_news() -> None:
    subject = Subject("acc_1", asked_us=NOW - 1, grants=(Grant(Level.EMAIL, 1, NOW - 1),))
    grant = Grant(Level.EMAIL, NOW, NOW + 5)
    record, changed = granted(SENT, subject, grant, proof="em:1", event_id="e1")
    assert changed.grants == (grant,)
    assert (changed.asked_us, changed.proofs) == (None, ("em:1",))
    assert record.code is None
    assert [event.id for event in record.outbox] == ["e1"]
    assert [hold.proof for hold in record.holds] == ["em:1"]


def test_a_grant_replaces_a_live_one_of_its_level_and_no_other() -> None:
    held = (Grant(Level.EMAIL, 1, NOW + 5), Grant(Level.PHONE, 1))
    grant = Grant(Level.EMAIL, NOW, NOW + 9)
    _, changed = granted(EMPTY, Subject("a", grants=held), grant, proof=None, event_id="e")
    assert changed.grants == (held[1], grant)


def test_news_that_nobody_takes_is_bounded_and_the_latest_is_kept() -> None:
    record, subject = EMPTY, Subject("acc_1")
    for number in range(MAX_OUTBOX + 2):
        grant = Grant(Level.EMAIL, NOW + number)
        record, subject = granted(record, subject, grant, proof=None, event_id=f"e{number}")
    assert [one.id for one in record.outbox] == [f"e{n}" for n in range(2, MAX_OUTBOX + 2)]
    record, _ = revoked(record, subject, Level.EMAIL, event_id="last", now_us=NOW)
    assert len(record.outbox) == MAX_OUTBOX
    assert record.outbox[-1].id == "last"


def test_a_verification_is_given_up_after_its_time_and_not_before() -> None:
    started = begin(EMPTY, Level.EMAIL, "rule", NOW)
    assert abandoned(started, NOW + ABANDONED_US - 1) is None
    left = abandoned(started, NOW + ABANDONED_US)
    assert left is not None
    assert (left.level, left.started_us) == (0, None)
    assert abandoned(left, NOW + 2 * ABANDONED_US) is None


def test_an_appeal_and_its_answer_are_cut_and_only_an_appeal_is_answered() -> None:
    written = appealed(EMPTY, "x" * (MAX_APPEAL_CHARS + 1), NOW)
    done = answered(written, "y" * (MAX_APPEAL_CHARS + 1), NOW + 1)
    assert done.appeal == Appeal("x" * MAX_APPEAL_CHARS, NOW, "y" * MAX_APPEAL_CHARS, NOW + 1)
    with pytest.raises(ValueError, match="no appeal"):
        answered(EMPTY, "no", NOW)


def test_what_grows_has_a_bound() -> None:
    subject = Subject("acc_1", grants=tuple(Grant(Level.EMAIL, n, None) for n in range(40)))
    _, changed = granted(EMPTY, subject, Grant(Level.PHONE, NOW), proof=None, event_id="e")
    assert len(changed.grants) <= MAX_GRANTS
    proofs: tuple[str, ...] = ()
    for number in range(50):
        proofs = with_proof(proofs, f"ph:{number}")
    assert len(proofs) == MAX_PROOFS
    assert proofs[-1] == "ph:49"


def test_the_lightest_step_that_settles_it_is_offered() -> None:
    every = tuple(Level)
    assert steps_for(Level.PHONE, Level.EMAIL, every) == (Level.PHONE,)
    both = (Level.EMAIL, Level.IDENTITY, Level.PAYMENT)
    assert steps_for(Level.PHONE, Level.EMAIL, both) == (Level.PAYMENT, Level.IDENTITY)
    assert steps_for(Level.PHONE, Level.PHONE, every) == ()
    assert steps_for(Level.ORGANIZATION, Level.NONE, both) == ()


def test_an_expired_grant_is_no_level() -> None:
    subject = Subject("a", grants=(Grant(Level.PHONE, 1, NOW), Grant(Level.EMAIL, 1)))
    assert held_level(subject, NOW) is Level.EMAIL
    assert held_level(subject, NOW - 1) is Level.PHONE
