"""The compose file, as far as it goes without containers: its gateway runs with its arguments, and
what its head tells the reader to type is typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.loadtests.processes import GatewayProcess, gateway, standin
from gateway.loadtests.servers.valkey import Server, server
from gateway.settings import Settings
from tests.surfaces.raw_http import chat, post

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
ADMIN = "http://127.0.0.1:9090"


@dataclass(frozen=True, slots=True)
class Site:
    """The composed gateway, and what the words of the file are here."""

    gateway: GatewayProcess
    here: dict[str, str]

    def typed(self, text: str) -> str:
        return replaced(text, self.here)


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("compose")
    serve, *arguments = services()["gateway"]["command"]
    assert serve == "serve"
    with (
        standin("--time-scale", "0") as upstream,
        server(folder, *services()["store"]["command"][1:]) as store,
    ):
        here = here_of(folder, upstream, store)
        options = [replaced(argument, here) for argument in arguments]
        kept = [one for one in options if not one.startswith("--data-dir")]
        with gateway(folder / "data", *kept) as running:
            here |= {ADMIN: running.admin.replace("0.0.0.0", "127.0.0.1")}
            yield Site(running, here)


def here_of(folder: Path, upstream: str, store: Server) -> dict[str, str]:
    return {
        "${UPSTREAM:?the model API, such as https://api.example.com}": upstream,
        "https://api.example.com": upstream,
        "redis://store:6379": store.url,
        "/data": str(folder / "data"),
        "/policies": str(DEPLOY.parent / "policies"),
    }


def replaced(text: str, here: dict[str, str]) -> str:
    for theirs, ours in here.items():
        text = text.replace(theirs, ours)
    return text


def told_commands() -> list[str]:
    return re.findall(r"^#   (hydragate .+)$", COMPOSE.read_text(), re.M)


def account_line() -> str:
    found = re.search(r"^#   (\{.+\})$", COMPOSE.read_text(), re.M)
    assert found is not None, "the file no longer shows a line of accounts.jsonl"
    return found[1]


def test_what_the_file_tells_its_reader_to_type_works(site: Site) -> None:
    commands = told_commands()
    assert len(commands) == 5
    for command in commands:
        words = site.typed(command.partition(" < ")[0]).split()[1:]
        if words[0] in ("accounts", "mode"):
            words += ["--admin", site.here[ADMIN]]
        ran = subprocess.run(
            [sys.executable, "-m", "gateway.cli", *words],
            input=account_line() + "\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    (key,) = json.loads(account_line())["keys"]
    assert post(site.gateway.url, chat(), key=key).status == 200


def test_the_health_check_holds_for_a_gateway_that_is_ready(site: Site) -> None:
    command = services()["gateway"]["healthcheck"]["test"]
    assert command[:2] == ["CMD", "python"]
    code = site.typed(command[-1])
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=20).returncode == 0
    away = code.replace(site.here[ADMIN], "http://127.0.0.1:9")
    assert subprocess.run(
        [sys.executable, "-c", away], check=False, timeout=20, capture_output=True
    ).returncode


def test_a_stop_leaves_time_for_the_drain_and_all_that_ends_after_it() -> None:
    grace_s = float(services()["gateway"]["stop_grace_period"].removesuffix("s"))
    drain_s = Settings.model_fields["drain_s"].default
    assert grace_s >= drain_s + 25  # docs/operations.md


def test_compose_and_its_files_fit_together() -> None:
    assert set(services()) == {"gateway", "store", "prometheus", "grafana"}
    for service in services().values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
