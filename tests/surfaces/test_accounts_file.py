"""The file of --accounts: one bad record shuts nobody else out, and a file that is none ends it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.loadtests.processes import gateway

from .conftest import ACCOUNTS, GOOD_KEY, write_policy
from .raw_http import chat, post

UPSTREAM = "http://127.0.0.1:9"
BAD = ('{"account_id": 7}', "no JSON")
GOOD = json.dumps(ACCOUNTS[0])


def test_a_file_of_bad_records_alone_ends_the_start(tmp_path: Path) -> None:
    file = tmp_path / "accounts.jsonl"
    file.write_text("\n".join(BAD))
    run = subprocess.run(
        [
            *(sys.executable, "-m", "hydragate.cli", "serve", "--upstream", UPSTREAM),
            *("--policy", str(write_policy(tmp_path / "policy")), "--accounts", str(file)),
            *("--port", "0", "--admin-port", "0", "--data-dir", str(tmp_path / "data")),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 1
    assert "hydragate ready" not in run.stdout
    assert f"hydragate: accounts: {file}: none of its 2 records can be used" in run.stderr
    for number in (1, 2):
        assert f"{file}:{number}: " in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("records", [(GOOD, *BAD), ('{"account_id": "gone", "removed": true}',)])
def test_whoever_is_usable_is_served_beside_bad_ones(
    tmp_path: Path, records: tuple[str, ...]
) -> None:
    file = tmp_path / "accounts.jsonl"
    file.write_text("\n".join(records))
    policy = write_policy(tmp_path / "policy")
    options = ("--upstream", UPSTREAM, "--policy", str(policy), "--accounts", str(file))
    with gateway(tmp_path / "data", *options) as server:
        is_known = post(server.url, chat(), key=GOOD_KEY).status != 401
    assert is_known == (GOOD in records)
    summary = next(line for line in server.output if "accounts imported" in line)
    bad = len(records) - 1
    assert f"{int(is_known)} accounts imported, {bad} bad records" in summary
    assert ("warning" in summary.lower()) == (bad > 0)
