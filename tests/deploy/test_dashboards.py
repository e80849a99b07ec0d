"""Every query of the dashboards and the alerts, asked of a real Prometheus that scrapes a real
gateway. Both come from Debian's `prometheus` package, which `.ci/run` installs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.loadtests.processes import ServerProcess, standin
from gateway.loadtests.servers.ports import free_port
from gateway.observe.metrics import TABLE
from tests.surfaces.conftest import ACCOUNTS, GENEROUS, GOOD_KEY, TIGHT_KEY, write_policy
from tests.surfaces.raw_http import chat, post
from tests.surfaces.verifying import verifying

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MISSING = "missing: install it with `apt-get install prometheus` (promtool comes with it)"
BOARDS = ("hydragate-sre", "hydragate-security")
MORE = """
rules:
  - name: shadowed
    why: so that something would be refused and is not
    mode: shadow
    when: {model: {exists: true}, task_grading: {gte: 0.0}}
    on_unknown: match
    then: {deny: {}}
  - name: embargoed
    why: so that a set of countries is counted
    mode: shadow
    when: {home_country: {in: embargoed}}
    on_unknown: no_match
    then: {deny: {}}
  - name: mail-first
    why: so that somebody is asked, and passes
    when: {verification: {below: email}}
    then: {verify: email, expires: 90d}
"""
COUNTRIES = """
source: an example of this test
reviewed: 2026-11-20
review_by: 2099-01-01
owner: legal
values: [CU]
"""
UNVERIFIED_KEY = "sk-unverified-0123456789"
CALLERS: list[dict[str, Any]] = [
    *({**account, "verification": ["email"]} for account in ACCOUNTS),
    {"account_id": "acc_unverified", "keys": [UNVERIFIED_KEY]},
]


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is {MISSING}"
    return found


def panels() -> list[tuple[str, str]]:
    boards = [json.loads((DEPLOY / "grafana" / f"{name}.json").read_text()) for name in BOARDS]
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for board in boards
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]


def alerts() -> list[tuple[str, str]]:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules" / "hydragate.yaml").read_text())
    return [(rule["alert"], rule["expr"]) for group in rules["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Prometheus scraping a gateway that has served, refused, shadowed and verified."""
    folder = tmp_path_factory.mktemp("prometheus")
    policy = write_policy(folder / "policy")
    (policy / "more.yaml").write_text(MORE)
    (policy / "sets").mkdir()
    (policy / "sets" / "embargoed.yaml").write_text(COUNTRIES)
    with (
        standin("--time-scale", "0") as upstream,
        verifying(folder, upstream, CALLERS, policy=GENEROUS) as site,
        scraping(site.server.admin, folder) as url,
    ):
        series_of(url, "hydragate_verifications_total")  # at 0: what an increase starts from
        assert site.pass_mail(UNVERIFIED_KEY, "ada@example.org")[0] == 200
        assert site.tell({}, secret=b"somebody else's secret")[0] == 400
        for _ in range(3):
            post(site.server.url, chat(), key=GOOD_KEY)
            post(site.server.url, chat(), key=TIGHT_KEY)
            threading.Event().wait(1.2)
        yield url


@contextmanager
def scraping(admin: str, folder: Path) -> Iterator[str]:
    """A Prometheus that looks at this admin port every second."""
    config, port = folder / "prometheus.yml", free_port()
    target = admin.removeprefix("http://")
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: h, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
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


def series_of(url: str, query: str) -> list[Any]:
    """The same, waited for: scrapes and the workers' snapshots are a second apart."""
    ends = time.monotonic() + 15
    while not (series := ask(url, query)) and time.monotonic() < ends:
        threading.Event().wait(0.2)
    return series


@pytest.mark.parametrize(("title", "query"), panels(), ids=lambda value: str(value)[:40])
def test_every_panel_has_series(prometheus: str, title: str, query: str) -> None:
    assert series_of(prometheus, query), f"{title}: no series for {query}"


@pytest.mark.parametrize(("name", "query"), alerts(), ids=lambda value: str(value)[:40])
def test_every_alert_can_be_asked_and_is_quiet(prometheus: str, name: str, query: str) -> None:
    found = ask(prometheus, query)
    assert not found or name == "HydragateRefusesMany"  # the fixture refuses on purpose


def test_every_metric_and_label_named_exists() -> None:
    known = {definition.name: definition.labels for definition in TABLE}
    for title, query in [*panels(), *alerts()]:
        named = {name.removesuffix("_bucket") for name in re.findall(r"hydragate_\w+", query)}
        assert named, title
        assert named <= known.keys(), title
        grouped = ", ".join(re.findall(r"by \(([^)]*)\)", query))
        selected = re.findall(r"(\w+)(?:=~|!=|=)\"", query)
        labels = {*re.findall(r"\w+", grouped), *selected} - {"le"}
        assert labels <= {label for name in named for label in known[name]}, title


def test_the_rules_pass_their_own_tests() -> None:
    tests = list((DEPLOY / "prometheus").glob("rules_test*.yaml"))
    assert len(tests) == 2
    said = subprocess.run(
        [tool("promtool"), "test", "rules", *map(str, sorted(tests))],
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
