"""Decision logs as they are found: several workers' files, damaged lines, no log at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.core.keyed import KeyedHash
from gateway.engine import Engine
from gateway.model import Outcome, RequestFacts, Subject, Usage
from gateway.observe.log_line import LineEncoder
from gateway.policy.load import load_policy
from gateway.stores.memory import MemoryStore
from gateway.workers.replay import EventClock, LineIds

POLICY = """
version: 1
name: logged
mode: enforce
unknown_credentials: refuse
on_store_error: deny
limits:
  - {name: rpm, why: "for the test", by: account, quota: 2/min, on_store_error: allow}
"""
BASE_US = 1_776_816_000_000_000
KEYED = KeyedHash(b"a secret of sixteen bytes")


class Noting:
    def __init__(self) -> None:
        self.exchanges: list[Any] = []

    def record(self, exchange: Any) -> None:
        self.exchanges.append(exchange)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
async def lines(policy: Path) -> list[bytes]:
    """Ten requests of one account, six seconds apart, each answered after a second."""
    loaded, store, noting = load_policy(policy), MemoryStore(), Noting()

    class Source:
        current = loaded

    engine = Engine(
        store=store,
        policies=Source(),
        clock=EventClock(),
        ids=LineIds(),
        keyed=KEYED,
        recorders=(noting,),
        event_time=True,
    )
    await store.put(Subject("acc_1"), {"c" * 32: "key_1"})
    for n in range(10):
        now_us = BASE_US + n * 6_000_000
        facts = RequestFacts(
            f"d{n:025d}",
            now_us,
            "proxy",
            "GET",
            "/v1/models",
            "openai.models",
            "openai",
            credential="c" * 32,
        )
        decision = await engine.decide(facts)
        outcome = Outcome.COMPLETE if decision.is_served else Outcome.REFUSED
        await engine.finish(
            facts, decision, outcome=outcome, usage=Usage(), finished_us=now_us + 1_000_000
        )
    encoder = LineEncoder(KEYED)
    return [encoder.encode(exchange, loaded) for exchange in noting.exchanges]


def replay(log: Path, policy: Path, *more: str) -> Result:
    arguments = ["--decisions", str(log), "--policy", str(policy), "--json"]
    return CliRunner().invoke(
        main, ["replay", *arguments, "--out", str(policy.parent / "out"), *more]
    )


def test_files_of_several_workers_packed_or_not_are_counted_in_order(
    lines: list[bytes], policy: Path, tmp_path: Path
) -> None:
    """Recounting comes to the same only when the lines come in the order of their arrival."""
    log = tmp_path / "log"
    log.mkdir()
    packed = zstandard.compress(b"".join(lines[0:4:2]))
    (log / "decisions-1.1776816020000.jsonl.zst").write_bytes(packed)
    (log / "decisions-1.jsonl").write_bytes(b"".join(lines[4::2]))
    (log / "decisions-2.jsonl").write_bytes(b"".join(lines[1::2]))
    for more in ((), ("--recount",)):
        result = replay(log, policy, *more)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["comparison"]["changes"] == {"same": 10}
        assert found["comparison"]["how"] == {"recounted" if more else "exact": 10}
        assert found["refused"] > 5


def test_another_policy_shows_whom_it_touches_by_pseudonym(
    lines: list[bytes], policy: Path, tmp_path: Path
) -> None:
    log = tmp_path / "decisions-1.jsonl"
    log.write_bytes(b"".join(lines))
    policy.write_text(POLICY.replace("2/min", "1000/min"))
    found = json.loads(replay(log, policy).stdout)
    assert found["comparison"]["changes"]["no_longer_refused"] > 5
    assert "acc_1" not in json.dumps(found)


def test_damaged_lines_are_counted_and_too_many_make_the_log_unusable(
    lines: list[bytes], policy: Path, tmp_path: Path
) -> None:
    log = tmp_path / "decisions-1.jsonl"
    log.write_bytes(b"".join([*lines[:5], b"{broken\n", *lines[5:]]))
    result = replay(log, policy)
    assert result.exit_code == 1
    assert "decisions-1.jsonl:6:" in result.stderr
    assert json.loads(result.stdout)["lines"] == {"read": 11, "bad": 1}


def test_a_folder_without_a_log_is_an_error_of_usage(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = replay(tmp_path / "empty", policy)
    assert result.exit_code == 2
    assert "no decision log" in result.stderr
