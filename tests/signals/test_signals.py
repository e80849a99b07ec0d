"""Every shipped signal: its value when known, and None when nobody knows."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from gateway.model import SECOND_US, TASKS, Grant, Level, RequestFacts, Status, Subject, TaskReading
from gateway.signals import all_signals

NOW_US = 1_800_000_000 * SECOND_US
SCORES = (0.1, 0.9, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
FACTS = RequestFacts(
    decision_id="d",
    received_us=NOW_US,
    surface="proxy",
    method="POST",
    path="/v1/messages",
    route="anthropic.messages",
    dialect="anthropic",
    is_inference=True,
    credential="c",
    client_network="n",
    country="DE",
    asn=64500,
    network_class="eyeball",
    user_agent="curl/8",
    sdk="openai-python/2",
    ja4="t13d",
    model="m",
    stream=True,
    items=3,
    body_bytes=7,
    message_count=2,
    tool_count=1,
    max_output_tokens=50,
    temperature=0.5,
    end_user="u",
    estimated_input_tokens=10,
    estimated_output_tokens=5,
    collecting=0.25,
    task=TaskReading("v", "", SCORES),
)
SUBJECT = Subject(
    "acc_1",
    created_us=NOW_US - 90 * SECOND_US,
    org_id="org",
    tier="start",
    billing_country="FR",
    email_domain="Example.ORG",
    phone_country="IT",
    signup_country="AT",
    ownership="attested",
    payment="p",
    signup_network="s",
    signup_path="startup",
    grants=(Grant(Level.EMAIL, 0), Grant(Level.IDENTITY, 0, NOW_US), Grant(Level.PHONE, 0)),
    asked_us=NOW_US - 30 * SECOND_US,
    contracts=("bulk",),
    sub_users=True,
    cluster_id="cl",
    cluster_state="watched",
    cluster_size=4,
    cluster_since_us=60 * SECOND_US,
    suspicion=0.25,
)
KNOWN: dict[str, Any] = {
    "account_id": "acc_1",
    "status": "active",
    "org_id": "org",
    "tier": "start",
    "account_age_s": 90,
    "verification": Level.PHONE,
    "verification_wait_s": 30,
    "verified_s": NOW_US // SECOND_US,
    "billing_country": "FR",
    "phone_country": "IT",
    "email_domain": "example.org",
    "payment": "p",
    "signup_network": "s",
    "signup_path": "startup",
    "contracts": ("bulk",),
    "sub_users": True,
    "key": "c",
    "surface": "proxy",
    "route": "anthropic.messages",
    "dialect": "anthropic",
    "method": "POST",
    "path": "/v1/messages",
    "is_inference": True,
    "model": "m",
    "stream": True,
    "items": 3,
    "body_bytes": 7,
    "message_count": 2,
    "tool_count": 1,
    "max_output_tokens": 50,
    "temperature": 0.5,
    "estimated_input_tokens": 10,
    "estimated_output_tokens": 5,
    "estimated_total_tokens": 15,
    "user_agent": "curl/8",
    "sdk": "openai-python/2",
    "ja4": "t13d",
    "end_user": "u",
    "has_end_user": True,
    "client_network": "n",
    "country": "DE",
    "asn": 64500,
    "network_class": "eyeball",
    "home_country": "DE",
    "signup_country": "AT",
    "account_countries": ("AT", "FR", "IT"),
    "country_conflict": True,
    "ownership": "attested",
    "received_s": NOW_US // SECOND_US,
    "cluster_id": "cl",
    "cluster_state": "watched",
    "cluster_size": 4,
    "known_before_cluster_s": 60,  # the identity was given at 0
    "suspicion": 0.25,
    "collecting": 0.25,
    "task": "grading",
    **{f"task_{name}": score for name, score in zip(TASKS, SCORES, strict=True)},
}
BARE_FACTS = RequestFacts("d", NOW_US, "proxy", "GET", "/", None, "problem")
BARE_SUBJECT = Subject("acc_1", status=Status.PROVISIONAL)


# What an account's window says has a file of its own: test_behaviour.
@pytest.mark.parametrize(
    "name",
    sorted(
        name for name, spec in all_signals().items() if spec.needs not in ("window", "workspace")
    ),
)
def test_a_known_fact_is_read(name: str) -> None:
    value = all_signals()[name].read(FACTS, SUBJECT)
    assert value == KNOWN[name]
    assert isinstance(value, all_signals()[name].value_type)


@pytest.mark.parametrize("name", sorted(all_signals()))
def test_a_signal_is_none_exactly_when_it_says_that_it_may_be(name: str) -> None:
    spec = all_signals()[name]
    assert (spec.read(BARE_FACTS, BARE_SUBJECT) is None) == spec.nullable


def test_every_fact_of_request_and_account_is_a_signal() -> None:
    read_otherwise = {
        "decision_id": "an id",
        "received_us": "the clock",
        "credential": "key",
        "version": "the store's",
        "pseudonym": "the log's",
        "created_us": "account_age_s",
        "before_ban": "the operator's",
        "cluster_since_us": "known_before_cluster_s",
        "grants": "verification",
        "asked_us": "verification_wait_s",
        "proofs": "the linker's",
        "quotas": "limits",
        "window": "requests_24h and its like",
        "linked_users": "cluster_id and its like, of the user",
        "sub_user": "the same",
    }
    facts = {f.name for f in (*fields(RequestFacts), *fields(Subject))}
    assert facts - read_otherwise.keys() <= all_signals().keys()


def test_a_grant_counts_until_the_instant_it_expires() -> None:
    verification = all_signals()["verification"].read
    expiring = replace(SUBJECT, grants=(Grant(Level.PAYMENT, 0, NOW_US + 1),))
    assert verification(FACTS, expiring) is Level.PAYMENT
    assert verification(replace(FACTS, received_us=NOW_US + 1), expiring) is Level.NONE


def test_an_account_created_in_the_future_is_new() -> None:
    ahead = replace(SUBJECT, created_us=NOW_US + SECOND_US)
    assert all_signals()["account_age_s"].read(FACTS, ahead) == 0


def test_an_invented_key_is_no_key_to_count_by() -> None:
    stranger = replace(SUBJECT, status=Status.PROVISIONAL)
    assert all_signals()["key"].read(FACTS, stranger) is None


def test_a_task_without_a_likely_score_has_no_name() -> None:
    low = replace(FACTS, task=TaskReading("v", "", (0.49,) * len(TASKS)))
    assert all_signals()["task"].read(low, SUBJECT) is None
