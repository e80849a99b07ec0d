"""What families read from a request, and what never leaves in clear."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.keyed import KeyedHash
from gateway.linking.evidence import Block, Extractor, Sight, all_families, family
from gateway.linking.exempt import is_exempt
from gateway.linking.instants import CLOSE_SLOT_US, TURN
from gateway.linking.opening import read_opening, text_of
from gateway.linking.template import normalised, sketch
from gateway.model import Grant, Level, Subject
from tests.core.builders import FACTS, NOW_US

KEYED = KeyedHash(b"a secret for evidence tests")
SUBJECT = Subject("acc_1", version=1, payment="p" * 32, email_domain="Pool.example")
SYSTEM = "You are an expert grader. Judge each answer by the rubric and give marks from 1 to 10."


def members(body: dict[str, Any]) -> dict[str, bytes | memoryview]:
    return {name: json.dumps(value).encode() for name, value in body.items()}


def sight(body: dict[str, Any] | None = None, subject: Subject = SUBJECT) -> Sight:
    raw = members(body or {})
    return Sight(NOW_US, FACTS, subject, raw, read_opening(raw), (b"host", b"accept"))


def values(name: str, seen: Sight) -> list[str]:
    return list(all_families()[name].read(seen))


DIALECTS = [
    pytest.param(
        {"messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "hi"}]},
        id="chat",
    ),
    pytest.param(
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": SYSTEM}]}]},
        id="parts",
    ),
    pytest.param(
        {"system": SYSTEM, "messages": [{"role": "user", "content": "hi"}]}, id="messages"
    ),
    pytest.param({"instructions": SYSTEM, "input": "hi"}, id="responses"),
]


@pytest.mark.parametrize("body", DIALECTS)
def test_a_system_prompt_is_the_same_value_in_every_dialect(body: dict[str, Any]) -> None:
    (expected,) = values("system_prompt", sight({"system": SYSTEM}))
    assert values("system_prompt", sight(body)) == [expected]


@pytest.mark.parametrize(
    "disguised",
    [
        pytest.param(SYSTEM.replace("e", "e\u200b"), id="zero-width"),
        pytest.param(SYSTEM.replace("10", "99"), id="other-numbers"),
        pytest.param(SYSTEM.upper(), id="case"),
        pytest.param(SYSTEM.replace(" ", "  \n"), id="white-space"),
        pytest.param(
            "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in SYSTEM), id="wide"
        ),
    ],
)
def test_what_a_reader_does_not_see_changes_nothing(disguised: str) -> None:
    assert normalised(disguised) == normalised(SYSTEM)


def test_near_duplicates_share_some_of_their_sketch_and_strangers_none() -> None:
    near = SYSTEM.replace("Judge each answer", "Rate every reply")
    other = "Translate whatever the customer writes into plain English and keep names as they are."
    assert set(sketch(normalised(SYSTEM))) & set(sketch(normalised(near)))
    assert not set(sketch(normalised(SYSTEM))) & set(sketch(normalised(other)))
    assert sketch("too short") == []


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[", b"null", b'"\\ud800"', b"[" * 5000, b'[{"text":1}]', b"\xff"],
    ids=str,
)
def test_what_cannot_be_read_is_empty(raw: bytes) -> None:
    assert text_of(raw) in ("", "\ud800")
    assert read_opening({"messages": raw, "input": raw}).question in (b"", raw)


def test_a_pair_is_told_once_and_never_in_clear() -> None:
    extractor = Extractor(KEYED)
    body = {"system": SYSTEM, "messages": [{"role": "user", "content": "hi"}]}
    keys = extractor.new_keys(sight(body))
    assert {key.family for key in keys} >= {"system_prompt", "payment", "mail_domain", "network"}
    told = " ".join(key.value for key in keys)
    assert "pool.example" not in told
    assert all(len(key.value) == 16 for key in keys)
    assert extractor.new_keys(sight(body)) == []
    other = Extractor(KeyedHash(b"another secret of an operator")).new_keys(sight(body))
    values = [{key.value for key in told if key.family != TURN} for told in (keys, other)]
    assert values[0]
    assert not values[0] & values[1]


def test_a_changed_account_is_read_again() -> None:
    extractor = Extractor(KEYED)
    extractor.new_keys(sight())
    (key,) = extractor.new_keys(sight(subject=replace(SUBJECT, version=2, payment="q" * 32)))
    assert key.family == "payment"


def test_that_an_account_sent_is_told_once_in_a_slot() -> None:
    extractor = Extractor(KEYED, ["turns"])
    told = [
        extractor.new_keys(replace(sight(), at_us=at_us))
        for at_us in (0, CLOSE_SLOT_US - 1, CLOSE_SLOT_US, 2 * CLOSE_SLOT_US)
    ]
    assert [len(keys) for keys in told] == [1, 0, 1, 1]
    assert [
        len(extractor.pass_over(SUBJECT, 2 * CLOSE_SLOT_US + n)) for n in (0, CLOSE_SLOT_US)
    ] == [0, 1]


def test_busy_accounts_are_sampled() -> None:
    extractor = Extractor(KEYED)
    looked = 0
    for n in range(200):
        if extractor.wants(SUBJECT):
            looked += 1
            extractor.new_keys(sight({"system": f"{SYSTEM} {'x' * n}"}))
        else:
            extractor.pass_over(SUBJECT, NOW_US)
    assert looked == Extractor.SAMPLED_AFTER + (200 - Extractor.SAMPLED_AFTER) // Extractor.SAMPLE


def test_free_mail_says_nothing() -> None:
    assert values("mail_domain", sight(subject=replace(SUBJECT, email_domain="GMail.com"))) == []


def test_families_register_once_and_documented() -> None:
    with pytest.raises(ValueError, match="defined twice"):
        family("payment", Block.FACTS)(lambda seen: ())
    with pytest.raises(ValueError, match="no docstring"):
        family("unheard_of", Block.FACTS)(lambda seen: ())
    with pytest.raises(ValueError, match="no such evidence family: astrology"):
        Extractor(KEYED, ["payment", "astrology"])


@pytest.mark.parametrize(
    ("subject", "exempt"),
    [
        pytest.param(SUBJECT, False, id="anybody"),
        pytest.param(replace(SUBJECT, org_id="org_1"), False, id="self-declared-organisation"),
        pytest.param(
            replace(SUBJECT, grants=(Grant(Level.ORGANIZATION, NOW_US),)), True, id="verified"
        ),
        pytest.param(replace(SUBJECT, contracts=("aggregator",)), True, id="contract"),
        pytest.param(replace(SUBJECT, contracts=("bulk",)), False, id="another-contract"),
    ],
)
def test_who_is_never_linked(subject: Subject, exempt: bool) -> None:
    assert is_exempt(subject) is exempt
