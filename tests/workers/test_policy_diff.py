"""`hydragate policy diff`: whom a change would touch, before it is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

from .test_replay import BASE_TS, POLICY, exchange, write

LABELS = [
    {"account_id": "acc_0", "campaign": "wide", "class": "pool"},
    {"account_id": "acc_1", "campaign": None, "class": "classroom"},
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two accounts, four exchanges a second between them; the old policy serves five at once."""
    accounts = [{"account_id": f"acc_{i}", "key_ids": ["key_1"]} for i in (0, 1)]
    (tmp_path / "accounts.jsonl").write_text("".join(json.dumps(a) + "\n" for a in accounts))
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(a) + "\n" for a in LABELS))
    write(tmp_path / "t.jsonl", [exchange(n, ts=BASE_TS + n) for n in range(100)])
    (tmp_path / "old.yaml").write_text(POLICY)
    return tmp_path


def diff(files: Path, new: str, *more: str) -> Result:
    (files / "new.yaml").write_text(new)
    return CliRunner().invoke(
        main,
        [
            *("policy", "diff", str(files / "old.yaml"), str(files / "new.yaml")),
            *("--traffic", str(files / "t.jsonl"), "--accounts", str(files / "accounts.jsonl")),
            *("--labels", str(files / "labels.jsonl"), *more),
        ],
    )


def told(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_same_policy_touches_nobody(files: Path) -> None:
    result = diff(files, POLICY, "--json")
    assert result.exit_code == 0
    assert told(result)["policy"] == []
    assert told(result)["traffic"]["changes"] == {}


def test_newly_refused_are_named_by_rule_and_class_and_end_in_exit_code_1(files: Path) -> None:
    rule = """  - name: one-account
    why: refuses one of the two
    when: {account_id: {in: [acc_1]}}
    message: Not this one.
    then: {deny: {}}
"""
    result = diff(files, POLICY + rule, "--json", "--examples", "3")
    assert result.exit_code == 1
    traffic = told(result)["traffic"]
    newly = traffic["changes"]["newly_refused"]
    assert newly["by_rule"] == {"one-account": 50}
    assert newly["by_class"] == {"classroom": {"accounts": 1, "exchanges": 50}}
    assert traffic["classes"]["campaign wide"] == {"accounts": 1, "exchanges": 50}
    assert [example["line"] for example in traffic["examples"]] == [2, 4, 6]
    assert "acc_1" not in json.dumps(traffic)


def test_each_policy_settles_as_if_it_alone_had_been_in_force(files: Path) -> None:
    """Under the tighter limit fewer are served, so fewer tokens are used."""
    lines = [exchange(0, ts=BASE_TS + n * 0.01) for n in range(50)]
    write(files / "t.jsonl", lines)
    tight = POLICY.replace("burst: 5", "burst: 2")
    result = diff(files, tight, "--json")
    traffic = told(result)["traffic"]
    assert (traffic["refused_before"], traffic["refused_after"]) == (45, 48)
    assert traffic["changes"]["newly_refused"]["exchanges"] == 3
    assert diff(files, POLICY.replace("burst: 5", "burst: 9")).exit_code == 0


def test_what_only_a_shadow_would_refuse_is_told_and_ends_in_exit_code_0(files: Path) -> None:
    shadow = POLICY.replace("gte: 4000", "gte: 60")
    result = diff(files, shadow, "--json")
    assert result.exit_code == 0
    changes = told(result)["traffic"]["changes"]
    assert changes["would_be_newly_refused"]["by_rule"] == {"shadowed": 100}


def test_it_reads_well(files: Path) -> None:
    result = diff(files, POLICY.replace("60/min", "6/min"))
    assert "changed limit account-requests" in result.stdout
    assert "- quota: 60/min" in result.stdout
    assert "+ quota: 6/min" in result.stdout
    assert "newly refused:" in result.stdout
    assert "campaign wide:" in result.stdout
    assert "allow (ok) → throttle (account-requests)" in result.stdout


def test_without_traffic_only_what_is_written_is_compared(files: Path) -> None:
    (files / "new.yaml").write_text(POLICY.replace("60/min", "6/min"))
    policies = [str(files / "old.yaml"), str(files / "new.yaml")]
    result = CliRunner().invoke(main, ["policy", "diff", *policies])
    assert result.exit_code == 0
    assert "newly refused" not in result.stdout


def test_a_label_that_is_none_is_an_error_of_usage(files: Path) -> None:
    (files / "labels.jsonl").write_text("[]\n")
    result = diff(files, POLICY)
    assert result.exit_code == 2
    assert "labels.jsonl: a label is an object" in result.stderr
