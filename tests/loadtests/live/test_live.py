"""A small world through a real gateway, and into the report."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pytest

from gateway.loadtests.live.driver import Answered
from gateway.loadtests.live.results import decision_line, verdict_of
from gateway.loadtests.live.session import prepare, send, serving
from gateway.loadtests.live.window import Window
from gateway.loadtests.report.build import build
from gateway.observe.log_reader import find_decision
from gateway.policy.load import load_policy

from .small_world import BEGINS_S, COUNT, SmallWorld

ENFORCE = Path(__file__).resolve().parents[3] / "policies" / "enforce"


def answered(status: int, decision: str | None = None, *, verify: bool = False) -> Answered:
    return Answered(1, 2.0, "a", None, status, decision, verify)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (answered(200), "allow"),
        (answered(429, "d1"), "throttle"),
        (answered(429), "allow"),
        (answered(529), "allow"),
        (answered(502), "allow"),
        (answered(403, "d1", verify=True), "verify"),
        (answered(403, "d1"), "deny"),
        (answered(451, "d1"), "deny"),
        (answered(401), "deny"),
        (answered(413), "deny"),
    ],
    ids=lambda value: f"{value.status} {value.decision}" if isinstance(value, Answered) else value,
)
def test_a_status_means_a_verdict_only_where_the_gateway_says_so(
    answer: Answered, verdict: str
) -> None:
    assert verdict_of(answer) == verdict


def test_lines_are_in_the_worlds_time_and_name_the_rule_where_the_log_does() -> None:
    window = Window(1000.0, 10.0, compression=60.0)
    line = decision_line(answered(429, "d1"), window, {"d1": "account-requests"})
    assert (line["ts"], line["reason"], line["served"]) == (1120.0, "account-requests", False)
    assert decision_line(answered(429, "d2"), window, {})["reason"] == "http_429"


def test_what_got_no_answer_is_a_bad_line_and_no_refusal() -> None:
    lost = Answered(1, 2.0, "a", None, 0, None, error="timeout")
    line = decision_line(lost, Window(0.0, 1.0), {})
    assert (line["ts"], line["verdict"], line["served"]) == (None, None, False)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("live") / "run"
    # Two hundred seconds of the world in four.
    prepared = prepare(SmallWorld(), Window(BEGINS_S, 4.0, compression=50.0), out, processes=2)
    seen: list[tuple[int, int]] = []
    with serving(prepared, ENFORCE, time_scale=0.01) as servers:
        send(
            prepared,
            servers.gateway.url,
            log_folder=out / "data" / "log",
            policy=ENFORCE,
            on_progress=lambda done, count: seen.append((done, count)),
        )
    assert seen[-1] == (COUNT, COUNT)
    return out


def test_every_exchange_is_answered_as_the_policy_says(out: Path) -> None:
    with gzip.open(out / "decisions.jsonl.gz") as file:
        lines = [orjson.loads(line) for line in file]
    assert len(lines) == COUNT
    assert [line["ts"] for line in lines] == sorted(line["ts"] for line in lines)
    verdicts = {(line["account_id"], line["verdict"], line["reason"]) for line in lines}
    assert verdicts == {
        ("old", "allow", "ok"),
        ("new", "allow", "ok"),
        ("pool", "verify", "premium-before-mail"),
    }


def test_latency_counts_from_when_each_request_was_due(out: Path) -> None:
    found = orjson.loads((out / "latency.json").read_bytes())
    assert found["compression"] == 50.0
    assert found["wanted_per_s"] == COUNT / 4
    assert found["load"]["sent"] == COUNT
    assert found["load"]["errors"] == {}
    assert 0 < found["load"]["latency_ms"]["p50"] <= found["load"]["latency_ms"]["max"]


def test_a_refusal_can_be_asked_about(out: Path) -> None:
    found = orjson.loads((out / "summary.json").read_bytes())
    record = find_decision(out / "data" / "log", found["a_refusal"])
    assert record is not None
    assert record["reason"] == "premium-before-mail"


def test_no_key_is_left_readable_by_others(out: Path) -> None:
    assert (out / "accounts.jsonl").stat().st_mode & 0o077 == 0
    assert not (out / "spool").exists()


def test_a_live_run_is_reported_like_any_other(out: Path) -> None:
    paths = build(
        {"live": out},
        labels=out / "labels.jsonl",
        line_labels=out / "line-labels.jsonl",
        out=out / "report",
    )
    (run,) = orjson.loads((out / "report" / "summary.json").read_bytes())["runs"]
    assert run["campaigns"][0]["served"] == {
        "part": 0,
        "whole": 10,
        "share": 0.0,
        "bounds": None,
    }
    assert (run["policy"], run["revision"]) == ("enforce", load_policy(ENFORCE).revision)
    assert run["mixed"]["whole"] == 10
    # Two hundred seconds of the world, in about sixty bins: too short for containment.
    assert run["campaigns"][0]["course"]["bin_s"] == 3
    assert run["campaigns"][0]["is_containment_measurable"] is False
    assert run["rules"] == [{"rule": "premium-before-mail", "campaign": 10, "innocent": 10}]
    assert "How long answers took" in paths[0].read_text()
    assert "sk-live-" not in paths[0].read_text()
