"""The demo's scene, on a small world, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.loadtests.demo.report import Added, text
from gateway.loadtests.demo.scene import RUNAWAY, RUNAWAY_ID, Scene
from gateway.loadtests.driver import LoadResult, Outcome
from gateway.loadtests.live.window import Window

from ..live.small_world import BEGINS_S, COUNT, SmallWorld

SCENE = Scene(SmallWorld(), Window(BEGINS_S, 50.0, compression=4.0))


def test_the_runaway_joins_the_world_in_order_of_time() -> None:
    found = [request for request, _ in SCENE.exchanges()]
    times = [request.ts for request in found]
    theirs = [
        ts for ts, request in zip(times, found, strict=True) if request.account_id == RUNAWAY_ID
    ]
    assert times == sorted(times)
    assert len(found) - len(theirs) == COUNT
    # Eighty world seconds at one a second.
    assert 60 < len(theirs) < 105
    assert min(theirs) >= BEGINS_S + 70
    assert max(theirs) < BEGINS_S + 150


def test_the_runaway_is_an_account_that_is_due_a_limit() -> None:
    accounts = {record["account_id"] for record in SCENE.accounts()}
    labels = {record["account_id"]: record for record in SCENE.labels()}
    assert RUNAWAY_ID in accounts
    assert labels[RUNAWAY_ID]["campaign"] is None
    assert labels[RUNAWAY_ID]["class"] == RUNAWAY
    assert labels[RUNAWAY_ID]["limit_due"] is True


def latencies(*seconds: float) -> LoadResult:
    result = LoadResult()
    for latency_s in seconds:
        result.add(Outcome(status=200, latency_s=latency_s, first_byte_s=latency_s))
    return result


def innocents(name: str, accounts: int, whole: int, refused: int, touched: int) -> dict[str, Any]:
    return {
        "name": name,
        "accounts": accounts,
        "refused": {"whole": whole, "part": refused},
        "touched": {"part": touched},
    }


RUN: dict[str, Any] = {
    "policy": "enforce",
    "latency": {"seconds": 45.0, "compression": 4.0},
    "classes": [
        innocents("ordinary", 100, 500, 1, 1),
        innocents("classrooms", 20, 100, 0, 0),
        innocents(RUNAWAY, 1, 1000, 500, 1),
    ],
    "campaigns": [
        {
            "name": "fast-pool",
            "served": {"whole": 400, "part": 390},
            "accounts_seen": 300,
            "accounts_refused": 7,
        }
    ],
    "clusters": None,
}


def test_the_printed_report_adds_up() -> None:
    added = Added(latencies(0.010, 0.010), latencies(0.012, 0.012))
    printed = text(RUN, added, paths=[Path("out/report/report.html")])
    rows = [line.split() for line in printed.splitlines() if "%" in line]
    assert ["customers", "120", "600", "99.8%", "1"] in rows
    assert ["one", "runaway", "script", "1", "1,000", "50.0%", "1"] in rows
    assert ["campaign", "fast-pool", "300", "400", "97.5%", "7"] in rows
    assert "served 97.5% of the campaign" in printed
    assert "4 times as fast" in printed
    assert "accused contest" in " ".join(printed.split())
    assert "out/report:\n  report.html" in printed


@pytest.mark.parametrize(
    ("clusters", "said"),
    [
        pytest.param({"by_state": {"watched": 1}}, "were not linked", id="only-watched"),
        pytest.param({"by_state": {"suspected": 1}}, "were seen as one", id="suspected"),
    ],
)
def test_the_printed_report_says_whether_the_campaign_was_linked(
    clusters: dict[str, Any], said: str
) -> None:
    added = Added(latencies(0.01), latencies(0.01))
    run = {**RUN, "clusters": clusters, "accounts": {"precision": 0.995}}
    printed = text(run, added, paths=[Path("r/report.html")], why=["7 accounts show the same."])
    assert said in printed
    assert "Why they are linked:\n  7 accounts show the same." in printed


def test_a_campaign_that_was_linked_too_late_is_not_said_to_be_stopped() -> None:
    campaigns = [{**RUN["campaigns"][0], "accounts_refused": 0}]
    clusters = {"by_state": {"suspected": 1}}
    run = {**RUN, "campaigns": campaigns, "clusters": clusters, "accounts": {"precision": None}}
    printed = text(run, Added(latencies(0.01), latencies(0.01)), paths=[Path("r/report.html")])
    assert "only when nearly all of it was sent" in printed
    assert "until its accounts" not in printed
    assert "Of the accounts that were refused" not in printed


def test_a_run_without_a_campaign_says_so() -> None:
    added = Added(latencies(0.01), latencies(0.01))
    printed = text({**RUN, "campaigns": []}, added, paths=[Path("r/report.html")])
    assert "No campaign exchange" in printed
