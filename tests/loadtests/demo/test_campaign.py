"""The demo's campaign is linked while it runs, without data from beside the checkout."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from gateway.cli import main
from gateway.loadtests.demo.run import POLICY
from gateway.loadtests.demo.scene import SCENARIO

DEMO_DAYS = 45 / 1440  # 45 seconds, sixty times as fast as the world


def lines(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.splitlines()]


def test_most_of_the_campaign_is_refused_and_no_customer(tmp_path: Path) -> None:
    words = ["replay", "--scenario", str(SCENARIO), "--policy", str(POLICY)]
    result = CliRunner().invoke(main, [*words, "--days", str(DEMO_DAYS), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    labels = lines((tmp_path / "labels.jsonl").read_bytes())
    campaign = {one["account_id"] for one in labels if one["campaign"] is not None}
    decisions = lines(gzip.decompress((tmp_path / "decisions.jsonl.gz").read_bytes()))
    sent = [one for one in decisions if one["account_id"] in campaign]
    refused = [one["account_id"] for one in decisions if one["verdict"] != "allow"]
    assert len(sent) > 1_000
    assert len([one for one in refused if one in campaign]) > 0.4 * len(sent)
    assert set(refused) <= campaign
