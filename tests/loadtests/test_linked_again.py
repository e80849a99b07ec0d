"""Recorded evidence says, linked again, whom a campaign's pool is."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from gateway.loadtests.linked_again import main
from gateway.loadtests.worlds.load import LIBRARY

from .worlds.builders import write_scenario

CAMPAIGN = LIBRARY / "campaigns" / "pool.yaml"


def run(*words: str) -> str:
    result = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_pool_is_found_again_and_a_family_can_be_left_out(tmp_path: Path) -> None:
    path = write_scenario(tmp_path, accounts=60)
    raw = json.loads(path.read_bytes())
    raw["campaigns"] = [{"file": "pool", "scale": 0.02}]
    path.write_text(json.dumps(raw))
    policy = str(LIBRARY.parent / "policies" / "enforce")
    run("record", str(path), "--policy", policy, "--days", "0.4", "--out", str(tmp_path / "out"))
    folder = str(tmp_path / "out" / "scenario")
    whole = json.loads(run("link", folder))
    left_out = [f"--without={name}" for name in ("payment", "signup_network", "turns")]
    blind = json.loads(run("link", folder, *left_out))
    assert whole["innocents"] == 60
    assert whole["accused"] == {}
    assert whole["before_linked"]["pool"] < 0.5
    assert blind["before_linked"]["pool"] > whole["before_linked"]["pool"]
