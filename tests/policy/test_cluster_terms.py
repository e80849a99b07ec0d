"""Limits by cluster as they are written, and what check finds wrong with them."""

from __future__ import annotations

import json
import re

import pytest

from gateway.model import SECOND_US, ClusterTerms, Limit, Quota
from gateway.policy.cluster_terms import DEFAULT_JITTER, SIGNALS, STATES
from gateway.policy.load import schema_json
from gateway.signals import all_signals

from .builders import HEAD, compiled, limit, problems

DAY_US = 86_400 * SECOND_US
NOTHING = Quota(0, DAY_US, 0)


def only(rest: str) -> Limit:
    return compiled(HEAD + "limits:\n" + limit("one", rest)).limits[0]


def terms(rest: str) -> ClusterTerms:
    found = only(rest).cluster
    assert found is not None
    return found


def test_quotas_by_state_read_as_written() -> None:
    found = terms(
        "by: cluster, states: {watched: 1k/min, suspected: {quota: 300/day, burst: 30}, "
        "confirmed: 0}"
    )
    assert found.states == {
        "watched": Quota(1000, 60 * SECOND_US, 1000),
        "suspected": Quota(300, DAY_US, 30),
        "confirmed": NOTHING,
    }
    assert (found.suspicion, found.jitter, found.floor_us) == ((), DEFAULT_JITTER, None)


def test_bands_of_suspicion_begin_where_their_names_say_in_whatever_order() -> None:
    found = terms("by: [cluster, asn], suspicion: {1: {quota: 0}, 0.6: 1k/min, 0.9: 60/min}")
    assert found.suspicion == (
        (0.6, Quota(1000, 60 * SECOND_US, 1000)),
        (0.9, Quota(60, 60 * SECOND_US, 60)),
        (1.0, NOTHING),
    )


def test_leases_may_be_none_too() -> None:
    found = terms("by: cluster, cost: concurrency, states: {suspected: 4, confirmed: 0}")
    assert found.states == {"suspected": Quota(4, 0, 4), "confirmed": Quota(0, 0, 0)}


def test_jitter_and_floor_read_as_written() -> None:
    found = terms("by: cluster, quota: 60/min, jitter: 0, floor: 30d")
    assert (found.jitter, found.floor_us) == (0.0, 30 * DAY_US)


@pytest.mark.parametrize(
    ("rest", "is_public"),
    [
        ("by: account, quota: 60/min", True),
        ("by: cluster, quota: 60/min", False),
        ("by: [account, cluster], quota: 60/min", False),
        ("by: [org, cluster], quota: 60/min", False),
        ("by: account, quota: 6/min, when: {cluster_state: watched}, on_unknown: no_match", False),
        ("by: account, quota: 6/min, when: {any: [{not: {cluster_id: {exists: true}}}]}", False),
        ("by: account, quota: 6/min, when: {stream: true}, on_unknown: no_match", True),
    ],
)
def test_a_limit_that_looks_at_a_cluster_is_kept_from_callers(rest: str, is_public: bool) -> None:
    assert only(rest).is_public is is_public


def test_every_signal_of_the_cluster_topic_counts_as_one() -> None:
    topic = {n for n, s in all_signals().items() if s.read.__module__.endswith(".cluster")}
    assert topic == SIGNALS


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (
            "by: cluster, states: {suspekted: 60/min}",
            ".states.suspekted: cluster_state is never 'suspekted'; did you mean suspected?",
        ),
        (
            "by: cluster, states: {dismissed: 60/min}",
            ".states.dismissed: has no limit: people have said it is no cluster",
        ),
        (
            "by: cluster, states: {watched: 60/min, suspected: 90/min}",
            ".states.suspected: lets more pass than watched, for a worse suspicion",
        ),
        (
            "by: cluster, states: {watched: 60/min, suspected: {quota: 9/min, burst: 90}}",
            ".states.suspected: lets 90 pass at once, watched only 60: a worse suspicion must "
            "not be allowed more, so say a burst for watched",
        ),
        (
            "by: cluster, states: {suspected: 0, confirmed: 60/min}",
            ".states.confirmed: lets more pass than suspected, for a worse suspicion",
        ),
        (
            "by: cluster, suspicion: {0.5: 60/min, 0.50: 50/min}",
            ".suspicion.0.50: overlaps 0.5: both begin at the same suspicion",
        ),
        (
            "by: cluster, suspicion: {0.9: 60/min, 0.5: 50/min}",
            ".suspicion.0.9: lets more pass than 0.5, for a worse suspicion",
        ),
        (
            "by: cluster, quota: 40/min, suspicion: {0.9: 60/min}",
            ".suspicion.0.9: lets more pass than quota, for a worse suspicion",
        ),
        (
            "by: cluster, suspicion: {90: 60/min}",
            ".suspicion.90: '90' is no suspicion: a number from 0 to 1",
        ),
        (
            "by: cluster, suspicion: {high: 60/min}",
            ".suspicion.high: 'high' is no suspicion: a number from 0 to 1",
        ),
        ("by: cluster, suspicion: {nan: 1/s}", ".suspicion.nan: 'nan' is no suspicion: "
         "a number from 0 to 1"),
        ("by: cluster, states: {}", ".states: must be a table from state to quota"),
        ("by: cluster, states: [1]", ".states: must be a table from state to quota"),
        ("by: cluster, suspicion: 0.5", ".suspicion: must be a table from suspicion to quota"),
        (
            "by: cluster, states: {confirmed: {quota: 0, burst: 5}}",
            ".states.confirmed: a quota of 0 goes alone: nothing passes",
        ),
        (
            "by: cluster, states: {suspected: false}",
            ".states.suspected: a rate needs a period: write false/min",
        ),
        (
            "by: account, quota: 60/min, states: {suspected: 6/min}",
            ".states: is for limits by cluster only",
        ),
        ("by: org, quota: 60/min, jitter: 0.1", ".jitter: is for limits by cluster only"),
        ("by: cluster, quota: 60/min, jitter: 0.6", ".jitter: must be at most 0.5"),
        ("by: cluster, quota: 60/min, floor: 1h", ".floor: must be from 1d to 366d"),
        (
            "by: cluster, quota: 60/min, floor: soon",
            ".floor: must be a duration such as 30s, 10m, 2h or 7d",
        ),
        (
            "by: cluster, quota: 60k/min, cost: total_tokens, floor: 30d",
            ".floor: is for cost: requests only",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_named_with_its_place(rest: str, message: str) -> None:
    assert problems(HEAD + "limits:\n" + limit("one", rest)) == [f"a.yaml:4: limits[0]{message}"]


def test_editors_complete_the_states_and_know_what_a_suspicion_looks_like() -> None:
    properties = json.loads(schema_json())["$defs"]["RawLimit"]["properties"]
    assert list(properties["states"]["properties"]) == sorted(STATES)
    (pattern,) = properties["suspicion"]["patternProperties"]
    for text in ("0", "1", "0.6", ".6", "1.0"):
        assert re.fullmatch(pattern, text)
    for text in ("2", "high", "0.6.1", "-0.1", "60"):
        assert not re.fullmatch(pattern, text)
