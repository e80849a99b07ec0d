"""Every query of the dashboard and the alerts, asked of a real Prometheus that scrapes a real
gateway. Both come from Debian's `prometheus` package, which `.ci/run` installs."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.loadtests.processes import ServerProcess, gateway, standin
from gateway.observe.metrics import TABLE
from tests.ports import free_port
from tests.surfaces.conftest import GOOD_KEY, TIGHT_KEY, write_accounts, write_policy
from tests.surfaces.raw_http import chat, post

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MISSING = "missing: install it with `apt-get install prometheus` (promtool comes with it)"
SHADOW = """
rules:
  - name: shadowed
    why: so that something would be refused and is not
    mode: shadow
    when: {model: {exists: true}}
    then: {deny: {}}
"""


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is {MISSING}"
    return found


def panels() -> list[tuple[str, str]]:
    board = json.loads((DEPLOY / "grafana" / "hydragate-sre.json").read_text())
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def alerts() -> list[tuple[str, str]]:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "hydragate.yaml").read_text())
    return [(rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prometheus scraping a gateway that has served, refused and shadowed."""
    folder = tmp_path_factory.mktemp("prometheus")
    policy = write_policy(folder / "policy")
    (policy / "shadow.yaml").write_text(SHADOW)
    accounts = write_accounts(folder / "accounts.jsonl")
    with (
        standin("--time-scale", "0") as upstream,
        gateway(
            folder / "data",
            *("--upstream", upstream, "--policy", str(policy), "--accounts", str(accounts)),
        ) as server,
    ):
        config = folder / "prometheus.yml"
        target = server.admin.removeprefix("http://")
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: h, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        port = free_port()
        running = ServerProcess(
            [
                tool("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ]
        )
        try:
            running.wait_ready("Server is ready to receive web requests")
            for _ in range(4):
                post(server.url, chat(), key=GOOD_KEY)
                post(server.url, chat(), key=TIGHT_KEY)
                threading.Event().wait(1.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.stop()


def ask(url: str, query: str) -> list[Any]:
    """The result's series. Fails with what Prometheus says of a bad query."""
    asked = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(asked, timeout=10) as answer:
        found = json.loads(answer.read())
    assert found["status"] == "success"
    series: list[Any] = found["data"]["result"]
    return series


@pytest.mark.parametrize(("title", "query"), panels(), ids=lambda value: str(value)[:40])
def test_every_panel_has_series(prometheus: str, title: str, query: str) -> None:
    ends = time.monotonic() + 15
    series = ask(prometheus, query)
    while not series and time.monotonic() < ends:
        threading.Event().wait(0.5)
        series = ask(prometheus, query)
    assert series, f"{title}: no series for {query}"


@pytest.mark.parametrize(("name", "query"), alerts(), ids=lambda value: str(value)[:40])
def test_every_alert_can_be_asked_and_is_quiet(prometheus: str, name: str, query: str) -> None:
    found = ask(prometheus, query)
    assert not found or name == "HydragateRefusesMany"  # the fixture refuses on purpose


def test_every_metric_named_exists() -> None:
    known = {definition.name for definition in TABLE}
    suffixed = known | {f"{name}_bucket" for name in known}
    for title, query in [*panels(), *alerts()]:
        words = (
            query.replace("(", " ").replace("{", " ").replace("[", " ").replace(")", " ").split()
        )
        named = {word for word in words if word.startswith("hydragate_")}
        assert named, title
        assert named <= suffixed, title


def test_the_rules_pass_their_own_tests() -> None:
    said = subprocess.run(
        [tool("promtool"), "test", "rules", str(DEPLOY / "prometheus" / "rules_test.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    checked = subprocess.run(
        [tool("promtool"), "check", "rules", str(DEPLOY / "prometheus/rules/hydragate.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_compose_and_its_files_fit_together() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert set(compose["services"]) == {"gateway", "store", "prometheus", "grafana"}
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
    for image in (s["image"] for s in compose["services"].values() if "image" in s):
        assert ":" in image.rpartition("/")[2], f"{image} names no version"
