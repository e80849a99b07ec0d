"""`hydragate replay` on files: what it writes, that it is exact, and what bad input costs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.loadtests.servers.valkey import Server

BASE_TS = 1_776_816_000.0
POLICY = """
version: 1
name: replayed
mode: enforce
unknown_credentials: refuse
on_store_error: deny
limits:
  - name: account-requests
    why: narrow, so that a replay refuses something
    by: account
    quota: 60/min
    burst: 5
    cost: requests
    on_store_error: deny
  - name: account-tokens
    why: narrow, so that the usage of answers matters
    by: account
    quota: 6000/min
    burst: 6000
    cost: total_tokens
    on_store_error: allow
rules:
  - name: shadowed
    why: something that would be refused if it were enforced
    mode: shadow
    when: {max_output_tokens: {gte: 4000}}
    on_unknown: no_match
    then: {deny: {}}
"""


def exchange(number: int, **changes: Any) -> dict[str, Any]:
    body = {"model": "m-1", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
    return {
        "ts": BASE_TS + number * 0.25,
        "account_id": f"acc_{number % 2}",
        "key_id": "key_1",
        "client_ip": "203.0.113.7",
        "method": "POST",
        "path": "/v1/chat/completions",
        "headers": [["user-agent", "OpenAI/Python 2.0.0"]],
        "ja4": None,
        "body": body,
        "response": {
            "status": 200,
            "latency_ms": 500,
            "input_tokens": 20,
            "output_tokens": 30,
            "stream": False,
            "body": None,
        },
    } | changes


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    accounts = [{"account_id": f"acc_{i}", "tier": "start", "key_ids": ["key_1"]} for i in (0, 1)]
    (tmp_path / "accounts.jsonl").write_text("".join(json.dumps(a) + "\n" for a in accounts))
    return tmp_path


@pytest.fixture(autouse=True)
def _nothing_is_left_to_resume(files: Path) -> Iterator[None]:
    """A run that ended has no checkpoint."""
    yield
    assert not list(files.glob("*/checkpoint*"))


def write(path: Path, lines: Sequence[dict[str, Any] | str]) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    data = "".join(text + "\n" for text in texts).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.compress(data)
    path.write_bytes(data)
    return path


def replay(files: Path, traffic: Path, out: str = "out", *more: str) -> Result:
    return CliRunner().invoke(
        main,
        [
            *("replay", "--traffic", str(traffic), "--accounts", str(files / "accounts.jsonl")),
            *("--policy", str(files / "policy.yaml"), "--out", str(files / out), *more),
        ],
    )


def decisions(files: Path, out: str = "out") -> list[dict[str, Any]]:
    with gzip.open(files / out / "decisions.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def test_one_line_per_line_in_order_with_what_the_contract_names(files: Path) -> None:
    traffic = write(files / "t.jsonl", [exchange(n) for n in range(60)])
    assert replay(files, traffic).exit_code == 0
    found = decisions(files)
    assert [line["ts"] for line in found] == [BASE_TS + n * 0.25 for n in range(60)]
    assert set(found[0]) == {
        *("ts", "account_id", "verdict", "would_be", "served", "reason", "findings"),
        *("cluster_id", "suspicion", "degraded"),
    }
    assert all(line["served"] == (line["verdict"] == "allow") for line in found)
    assert {line["reason"] for line in found} == {"ok", "account-requests"}
    summary = json.loads((files / "out" / "summary.json").read_text())
    assert summary["exchanges"] == 60
    assert summary["refused"] == sum(not line["served"] for line in found)
    assert summary["by_verdict"]["throttle"] == summary["refused"]
    assert summary["accounts_touched"] == {"throttle": 2}
    assert (files / "out" / "clusters.jsonl").read_text() == ""


def test_the_same_input_gives_the_same_bytes(files: Path) -> None:
    traffic = write(files / "t.jsonl", [exchange(n) for n in range(200)])
    for out in ("one", "two"):
        assert replay(files, traffic, out).exit_code == 0
    first, second = ((files / out / "decisions.jsonl.gz").read_bytes() for out in ("one", "two"))
    assert first == second


def test_event_time_rules_not_the_machines_clock(files: Path) -> None:
    """A minute between requests: none is refused, however fast the replay runs."""
    slow = [exchange(n, ts=BASE_TS + 60 * n) for n in range(100)]
    replay(files, write(files / "t.jsonl", slow))
    assert all(line["served"] for line in decisions(files))


def test_real_usage_lands_when_the_answer_would_have(files: Path) -> None:
    heavy = exchange(0)["response"] | {"output_tokens": 100_000, "latency_ms": 10_000}
    lines = [
        exchange(0, response=heavy),
        exchange(2, ts=BASE_TS + 9),  # before the answer's end: the debt is not known yet
        exchange(4, ts=BASE_TS + 11),  # after it
    ]
    replay(files, write(files / "t.jsonl", lines))
    assert [line["reason"] for line in decisions(files)] == ["ok", "ok", "account-tokens"]


def test_a_refused_exchange_uses_nothing(files: Path) -> None:
    burst = [exchange(0, ts=BASE_TS + n * 0.001) for n in range(50)]
    replay(files, write(files / "t.jsonl", burst))
    assert sum(line["served"] for line in decisions(files)) == 5


def test_shadow_findings_show_and_serve(files: Path) -> None:
    body = exchange(0)["body"] | {"max_tokens": 5000}
    replay(files, write(files / "t.jsonl", [exchange(0, body=body)]))
    (line,) = decisions(files)
    assert (line["verdict"], line["would_be"], line["served"]) == ("allow", "deny", True)
    assert line["findings"] == [{"rule": "shadowed", "verdict": "deny", "mode": "shadow"}]


@pytest.mark.parametrize("name", ["t.jsonl.gz", "t.jsonl.zst"])
def test_packed_logs_are_read(files: Path, name: str) -> None:
    assert replay(files, write(files / name, [exchange(n) for n in range(4)])).exit_code == 0
    assert len(decisions(files)) == 4


def test_unknown_accounts_unlisted_paths_and_bad_bodies_are_refused_as_live(files: Path) -> None:
    lines = [
        exchange(0, account_id="acc_nobody"),
        exchange(1, path="/v1/files"),
        exchange(2, body={"messages": []}),
        exchange(3, body=None),
    ]
    replay(files, write(files / "t.jsonl", lines))
    assert [line["reason"] for line in decisions(files)] == [
        "unknown_credential",
        "route_not_listed",
        "missing_model",
        "ok",
    ]


def test_a_bad_line_is_named_counted_and_keeps_its_place(files: Path) -> None:
    lines: list[dict[str, Any] | str] = [exchange(n) for n in range(300)]
    lines[6] = "{broken"
    result = replay(files, write(files / "t.jsonl", lines))
    assert result.exit_code == 0
    assert "t.jsonl:7:" in result.stderr
    assert decisions(files)[6]["reason"] == "bad_line"
    assert len(decisions(files)) == 300


def test_more_than_one_percent_bad_lines_end_in_exit_code_1(files: Path) -> None:
    lines: list[dict[str, Any] | str] = [exchange(n) for n in range(50)]
    lines[6] = '{"ts": "yesterday"}'
    result = replay(files, write(files / "t.jsonl", lines))
    assert result.exit_code == 1
    assert "not usable" in result.stderr


@pytest.mark.parametrize("name", ["t.jsonl.gz", "t.jsonl.zst"])
def test_a_cut_archive_is_reported_and_ends_in_exit_code_1(files: Path, name: str) -> None:
    """However few lines are bad: nobody knows how many are missing."""
    path = write(files / name, [exchange(n) for n in range(500)])
    path.write_bytes(path.read_bytes()[:-40])
    result = replay(files, path)
    assert "the archive is broken here" in result.stderr
    assert "not usable" in result.stderr
    assert result.exit_code == 1
    assert len(decisions(files)) > 100


def test_events_change_accounts_on_the_way(files: Path) -> None:
    events = [
        {"ts": BASE_TS + 100, "account_id": "acc_0", "event": "banned"},
        {"ts": BASE_TS + 200, "account_id": "acc_new", "event": "created", "tier": "start"},
    ]
    (files / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    lines = [
        exchange(0, ts=BASE_TS + 50),
        exchange(0, ts=BASE_TS + 150),
        exchange(0, ts=BASE_TS + 160, account_id="acc_new"),
        exchange(0, ts=BASE_TS + 250, account_id="acc_new"),
    ]
    traffic = write(files / "t.jsonl", lines)
    replay(files, traffic, "out", "--events", str(files / "events.jsonl"))
    assert [line["reason"] for line in decisions(files)] == [
        "ok",
        "account_banned",
        "unknown_credential",
        "ok",
    ]


def test_a_real_store_decides_as_memory_does(files: Path, valkey: Server) -> None:
    traffic = write(files / "t.jsonl", [exchange(n) for n in range(80)])
    assert replay(files, traffic, "memory").exit_code == 0
    result = replay(files, traffic, "store", "--store", valkey.url)
    assert result.exit_code == 0, result.output
    assert decisions(files, "store") == decisions(files, "memory")
    assert not list(_left_behind(valkey))


def _left_behind(valkey: Server) -> Iterator[bytes]:
    with valkey.client() as client:
        yield from client.scan_iter(match="hgr*")


# ── order ────────────────────────────────────────────────────────────────────────────────────


def shuffled(step: int = 4) -> list[dict[str, Any]]:
    """Every `step` lines turned round: at most 0.75 s late for 4."""
    lines = [exchange(n) for n in range(400)]
    return [lines[n - n % step + step - 1 - n % step] for n in range(400)]


def test_a_window_puts_late_lines_back_and_keeps_the_order_of_the_output(files: Path) -> None:
    in_order, turned = [exchange(n) for n in range(400)], shuffled()
    assert replay(files, write(files / "a.jsonl", in_order), "a").exit_code == 0
    path = write(files / "b.jsonl", turned)
    assert replay(files, path, "b", "--reorder-s", "2").exit_code == 0
    found = decisions(files, "b")
    assert [line["ts"] for line in found] == [line["ts"] for line in turned]
    assert sorted(found, key=lambda line: line["ts"]) == decisions(files, "a")
    assert json.loads((files / "b" / "summary.json").read_text())["lines"]["out_of_order"] == 0


def test_lines_a_little_late_are_decided_at_the_instant_reached_and_counted(files: Path) -> None:
    result = replay(files, write(files / "t.jsonl", shuffled()), "out", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["lines"] == {
        "read": 400,
        "bad": 0,
        "out_of_order": 300,
        "late": 0,
    }


def test_a_shuffled_log_is_not_usable_and_says_what_to_do(files: Path) -> None:
    result = replay(files, write(files / "t.jsonl", shuffled(40)))
    assert result.exit_code == 1
    assert "--reorder-s" in result.stderr
    assert len(decisions(files)) == 400


# ── bounds ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ts": float("nan")}, ""),
        ({"client_ip": "nowhere"}, "'nowhere' does not appear to be"),
        ({"account_id": "x" * 129}, "account_id: 1 to 128"),
        ({"headers": [["one"]]}, ""),
        ({"response": {"latency_ms": 1e12}}, "response.latency_ms: 0 to a day"),
    ],
    ids=["no number", "address", "account", "headers", "answer that never ends"],
)
def test_a_line_that_cannot_be_meant_is_a_bad_line(
    files: Path, changes: dict[str, Any], message: str
) -> None:
    lines = [exchange(n) for n in range(200)]
    lines[3] |= changes
    result = replay(files, write(files / "t.jsonl", lines))
    assert result.exit_code == 0
    assert f"t.jsonl:4: {message}" in result.stderr
    assert decisions(files)[3]["reason"] == "bad_line"


def test_a_log_that_ends_within_a_line_says_so(files: Path) -> None:
    path = write(files / "t.jsonl", [exchange(n) for n in range(200)])
    path.write_bytes(path.read_bytes()[:-40])
    assert "t.jsonl:200: the log breaks off here" in replay(files, path).stderr


def test_frames_of_zstandard_one_after_another_are_one_log(files: Path) -> None:
    parts = [json.dumps(exchange(n)).encode() + b"\n" for n in range(10)]
    (files / "t.jsonl.zst").write_bytes(b"".join(zstandard.compress(part) for part in parts))
    assert replay(files, files / "t.jsonl.zst").exit_code == 0
    assert len(decisions(files)) == 10


def test_standard_input_is_a_log(files: Path) -> None:
    text = "".join(json.dumps(exchange(n)) + "\n" for n in range(30))
    arguments = ["--accounts", str(files / "accounts.jsonl"), "--out", str(files / "out")]
    result = CliRunner().invoke(
        main,
        ["replay", "--traffic", "-", "--policy", str(files / "policy.yaml"), *arguments],
        input=text,
    )
    assert result.exit_code == 0, result.stderr
    assert len(decisions(files)) == 30


def test_keys_without_end_cost_no_memory_without_end(files: Path) -> None:
    """Beyond a bound the keys of one account count as one; they are still that account's."""
    lines = [exchange(0, ts=BASE_TS + n, key_id=f"key_{n}") for n in range(300)]
    assert replay(files, write(files / "t.jsonl", lines)).exit_code == 0
    assert {line["reason"] for line in decisions(files)} == {"ok"}


ASKING = """
version: 1
name: asking
mode: enforce
unknown_credentials: refuse
rules:
  - name: mail
    why: a grace that ends while the log is replayed
    when: {verification: {below: email}}
    then: {verify: email, grace: 3s}
"""


def test_a_grace_begins_with_the_first_ask_and_ends_on_event_time(files: Path) -> None:
    (files / "policy.yaml").write_text(ASKING)
    traffic = write(files / "traffic.jsonl", [exchange(2 * n) for n in range(12)])
    assert replay(files, traffic).exit_code == 0
    said = [(one["verdict"], one["would_be"]) for one in decisions(files)]
    # Each half second one; the first answer, with which the ask is noted, comes with the second.
    assert said == [("allow", "verify")] * 6 + [("verify", "verify")] * 6


def test_a_verification_ends_the_grace_and_the_next_ask_begins_another(files: Path) -> None:
    (files / "policy.yaml").write_text(ASKING)
    traffic = write(files / "traffic.jsonl", [exchange(2 * n) for n in range(28)])
    passed = {"ts": BASE_TS + 6, "account_id": "acc_0", "event": "verified", "level": "email"}
    (files / "events.jsonl").write_text(json.dumps({**passed, "expires_at": BASE_TS + 7}) + "\n")
    result = replay(files, traffic, "out", "--events", str(files / "events.jsonl"))
    assert result.exit_code == 0
    said = [(one["verdict"], one["would_be"]) for one in decisions(files)]
    grace, asked = [("allow", "verify")] * 6, [("verify", "verify")]
    assert said == [*grace, *asked * 6, *[("allow", "allow")] * 2, *grace, *asked * 8]
