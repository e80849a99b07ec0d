"""Scores on a real gateway: a policy sees them, an operator is told why, a model is swapped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.classifiers.load import SHIPPED, load_task_model
from gateway.loadtests.processes import GatewayProcess, gateway
from gateway.observe.log_reader import read_decisions
from tests.waiting import wait_for

from .conftest import GOOD_KEY, ask_admin, metric, write_accounts, write_policy
from .raw_http import post

POLICY = """
version: 1
name: scored
mode: enforce
unknown_credentials: refuse
on_store_error: deny
limits:
  - {name: account-requests, why: "wide enough", by: account, quota: 6000/min,
     on_store_error: deny}
rules:
  - name: grading
    why: is told, and refuses nobody
    mode: shadow
    when: {task_grading: {gte: 0.5}}
    on_unknown: no_match
    then: {deny: {}}
"""
RUBRIC = "Score the answer against the rubric from 1 to 5, each criterion: correct, complete."
QUESTION = "Question: what is a lease?\nAnswer: a thing that lapses by itself."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "request.json"
    path.write_bytes(SHIPPED.read_bytes())
    return path


@pytest.fixture(scope="module")
def running(
    upstream: str, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("scored")
    config = folder / "config.yaml"
    config.write_text(f"classifier: {{model: {model}}}\npolicy_poll_s: 0.05\n")
    with gateway(
        folder / "data",
        *("--upstream", upstream, "--policy", str(write_policy(folder / "policy", POLICY))),
        *("--accounts", str(write_accounts(folder / "accounts.jsonl")), "--config", str(config)),
    ) as started:
        yield started


def ask(server: GatewayProcess) -> dict[str, Any]:
    """One request for grading; its decision, explained."""
    turns = [{"role": "system", "content": RUBRIC}, {"role": "user", "content": QUESTION}]
    body = json.dumps({"model": "stand-in", "messages": turns}).encode()
    before = logged(server)
    assert post(server.url, body, key=GOOD_KEY).status == 200
    wait_for(lambda: len(logged(server)) > len(before))
    status, found = ask_admin(server, "GET", f"/api/decisions/{logged(server)[-1]}")
    assert status == 200
    return dict(found)


def logged(server: GatewayProcess) -> list[str]:
    """Ids of the decisions in the log."""
    return [line["id"] for line in read_decisions(server._data_dir / "log")]


def test_a_score_is_seen_by_the_policy_and_explained(running: GatewayProcess) -> None:
    found = ask(running)
    assert [finding[0] for finding in found["findings"]] == ["grading"]
    assert found["facts"]["task"]["version"] == load_task_model().version
    assert "Task: grading" in found["text"]
    assert "asks for a grade or a score (+" in found["text"]


def test_a_broken_model_is_refused_and_a_good_one_swapped_in(
    running: GatewayProcess, model: Path
) -> None:
    reloads = "hydragate_model_reload_total"
    model.write_text('{"format": 1, "features": "request/0", "heads": {}}')
    wait_for(lambda: metric(running, reloads, outcome="failed") >= 1)
    assert metric(running, "hydragate_files_refused", file="model") > 0
    assert ask(running)["facts"]["task"]["version"] == load_task_model().version
    model.write_bytes(SHIPPED.read_bytes() + b"\n")
    wait_for(lambda: metric(running, reloads, outcome="ok") >= 1)
    version = load_task_model(model).version
    wait_for(lambda: metric(running, "hydragate_model_info", version=version) == 1)
    assert metric(running, "hydragate_files_refused", file="model") == 0
    found = ask(running)
    assert found["facts"]["task"]["version"] == version
    assert f"(model {version})" in found["text"]
