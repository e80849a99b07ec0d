"""Records of accounts: what is no text that can be stored is refused by its field."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.keyed import KeyedHash
from gateway.workers.account_records import RecordError, RecordReader, unknown_fields

HALF = "\ud800"
READER = RecordReader(KeyedHash(b"s" * 32))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"email_domain": HALF}, id="domain"),
        pytest.param({"org_id": "a\udfffb"}, id="the-other-half"),
        pytest.param({"contracts": ["a", HALF]}, id="list"),
        pytest.param({"quotas": {HALF: "3/hour"}}, id="name-of-a-quota"),
        pytest.param({"keys": ["sk-0123456789"], "key_ids": [HALF]}, id="key-ids"),
        pytest.param({"signup_ip": HALF}, id="address"),
        pytest.param({HALF: 1, "email_domain": HALF}, id="name-of-a-field"),
        pytest.param({"email_domain": [[[HALF]]]}, id="deep-inside"),
    ],
)
def test_half_a_surrogate_pair_is_refused_in_words_that_can_be_sent(said: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as refused:
        READER.read({"account_id": "acc_1", **said})
    assert "surrogate" in str(refused.value)
    str(refused.value).encode()


def test_a_misspelt_field_is_told_in_words_that_can_be_sent() -> None:
    said = [text.encode() for _, text in unknown_fields({HALF: 1, "tierr": 2})]
    assert [text.partition(b":")[0] for text in said] == [b"\\ud800", b"tierr"]


@pytest.mark.parametrize("domain", ["example.org", "b\u00fccher.example", "\U0001f600.example"])
def test_whole_characters_of_any_script_are_text(domain: str) -> None:
    change = READER.read({"account_id": "acc_1", "email_domain": domain})
    assert change.fields["email_domain"] == domain


def test_a_record_nested_as_deeply_as_json_can_be_is_read_or_refused() -> None:
    deep: Any = HALF
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(RecordError):
        READER.read({"account_id": "acc_1", "email_domain": deep})
