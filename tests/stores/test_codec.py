"""Subjects as bytes, across versions of the gateway."""

from __future__ import annotations

from dataclasses import fields, replace

import msgspec
import pytest

from gateway.errors import StoreError
from gateway.model import Grant, Level, Status, Subject
from gateway.stores.codec import LETTERS, join, named, pack, split

FULL = Subject(
    "acc_1",
    version=7,
    pseudonym="ab12",
    status=Status.BANNED,
    before_ban=Status.ADOPTED,
    grants=(Grant(Level.PHONE, 5, 6), Grant(Level.EMAIL, 5)),
    contracts=("aggregator",),
    quotas={"rpm": "10/min"},
    suspicion=0.5,
    cluster_size=3,
)


@pytest.mark.parametrize("subject", [FULL, Subject("acc_1", version=1)], ids=["full", "bare"])
def test_a_subject_survives_the_store(subject: Subject) -> None:
    assert split(join(subject.version, pack(subject))) == subject


def test_what_a_newer_version_wrote_is_ignored_and_written_back() -> None:
    newer = msgspec.msgpack.encode({"account_id": "acc_1", "risk_note": [1, {"x": None}]})
    read = split(join(9, newer))
    assert read == Subject("acc_1", version=9)
    rewritten = pack(replace(read, tier="start"), over=join(9, newer))
    assert msgspec.msgpack.decode(rewritten) == {
        "a": "acc_1",
        "t": "start",
        "risk_note": [1, {"x": None}],
    }


def test_no_letter_stands_for_two_fields_and_none_is_a_field_of_its_own() -> None:
    assert len({*LETTERS.values()}) == len(LETTERS)
    assert not {*LETTERS.values()} & {*LETTERS}
    assert {*LETTERS} | {"version", "sub_user"} == {field.name for field in fields(Subject)}


@pytest.mark.parametrize("payment", ["ab" * 16, "AB" * 16, "ab c", " ab", "abc", "", "ﬀ", "visa"])
def test_a_hash_comes_back_digit_by_digit(payment: str) -> None:
    assert split(join(1, pack(Subject("a", payment=payment)))).payment == payment


def test_an_export_has_full_names_and_is_read_like_what_is_kept() -> None:
    subject = replace(FULL, payment="ab" * 16)
    exported = named(pack(subject, over=join(1, msgspec.msgpack.encode({"risk_note": 1}))))
    assert exported["payment"] == "ab" * 16
    assert exported["risk_note"] == 1
    assert {*exported} - {"risk_note"} <= {*LETTERS}
    assert split(join(7, msgspec.msgpack.encode(exported))) == subject


def test_a_field_set_back_to_its_default_is_gone() -> None:
    stored = join(1, pack(replace(FULL, suspicion=0.9)))
    rewritten = split(join(2, pack(Subject("acc_1"), over=stored)))
    assert rewritten == Subject("acc_1", version=2)


def test_a_blob_of_an_older_version_gets_defaults() -> None:
    assert split(join(3, msgspec.msgpack.encode({"account_id": "a"}))) == Subject("a", version=3)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"7",
        b"x\n\x80",
        b"7\n",
        b"7\n\x80",
        b"7\n\xc1",
        b"7\n\x93\x01\x02\x03",
        join(7, pack(FULL))[:-3],
        join(7, msgspec.msgpack.encode({"account_id": "a", "status": "of a later age"})),
        join(7, msgspec.msgpack.encode({"account_id": 5, "grants": "no"})),
    ],
)
def test_a_broken_blob_is_a_store_error(stored: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        split(stored)


def test_a_broken_blob_can_be_replaced() -> None:
    assert split(join(8, pack(FULL, over=b"7\n\xc1"))) == replace(FULL, version=8)
