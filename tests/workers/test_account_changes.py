"""Records to accounts: what a ban takes and an unban gives back."""

from __future__ import annotations

import pytest

from gateway.core.keyed import KeyedHash
from gateway.model import Status, Subject
from gateway.workers.account_changes import banned, unbanned
from gateway.workers.account_records import RecordReader

READER = RecordReader(KeyedHash(b"a secret of thirty-two bytes ..."))
ADOPTED = Subject("key_1", version=3, status=Status.ADOPTED)


def change(subject: Subject, **record: object) -> Subject:
    return READER.read({"account_id": subject.account_id, **record}).apply(subject)


@pytest.mark.parametrize("subject", [ADOPTED, Subject("acc_1", version=3)], ids=lambda s: s.status)
def test_unbanning_undoes_a_ban_and_a_second_one(subject: Subject) -> None:
    once = change(subject, status="banned")
    assert once.status is Status.BANNED
    assert unbanned(once) == subject
    assert unbanned(change(once, status="banned")) == subject
    assert unbanned(banned(once)) == subject
    assert unbanned(subject) == subject


def test_a_replacing_record_keeps_what_was_before_the_ban() -> None:
    record = READER.read({"account_id": "key_1", "tier": "scale"})
    base = record.base_for_replacement(banned(ADOPTED))
    assert unbanned(record.apply(base)).status is Status.ADOPTED


def test_a_record_that_says_active_makes_it_so_whatever_it_was() -> None:
    active = change(banned(ADOPTED), status="active")
    assert (active.status, active.before_ban) == (Status.ACTIVE, Status.ACTIVE)
    assert unbanned(banned(active)).status is Status.ACTIVE
