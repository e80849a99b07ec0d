"""Every alert leads to a section that says what is seen, looked at, done, and who is called."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from gateway.cli import main
from gateway.observe.metrics import TABLE

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules" / "hydragate.yaml"
CASES = sorted((ROOT / "deploy" / "prometheus").glob("rules_test*.yaml"))
PARTS = ("Symptom", "Check", "Mend", "Escalate")
RUNBOOKS = sorted((ROOT / "docs" / "runbooks").glob("*.md"))


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def section(path: Path, title: str) -> str:
    """The text under a heading, down to the next of its level."""
    _, found, rest = path.read_text().partition(f"\n## {title}\n")
    assert found, f"{path.name} has no section {title}"
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("name", alerts())
def test_an_alert_leads_to_all_that_who_is_paged_needs(name: str) -> None:
    path, _, anchor = alerts()[name]["annotations"]["runbook_url"].partition("#")
    assert anchor == name.lower()
    text = section(ROOT / path, name)
    starts = [text.index(f"**{part}.** ") for part in PARTS]
    assert starts == sorted(starts)
    console = re.search(r"```console\n\$ .+?\n(?!\$ ).+?```", text[starts[1] : starts[2]], re.S)
    assert console, f"{name}: Check shows no command with what it prints"


@pytest.mark.parametrize("name", alerts())
def test_an_alert_is_tested_quiet_and_firing(name: str) -> None:
    asked = [
        case
        for path in CASES
        for group in yaml.safe_load(path.read_text())["tests"]
        for case in group["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert {bool(case["exp_alerts"]) for case in asked} == {False, True}


def test_no_section_is_left_of_an_alert_that_is_gone() -> None:
    found = {
        title
        for path in RUNBOOKS
        for title in re.findall(r"^## (Hydragate\w+)$", path.read_text(), re.M)
    }
    assert found == alerts().keys()


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_commands_metrics_and_links_of_a_runbook_exist(path: Path) -> None:
    text = path.read_text()
    for typed in re.findall(r"(?:^\$ |`)(hydragate [a-z][^`\n|]*)", text, re.M):
        words = shlex.split(typed.replace("…", "x"))[1:]
        command: click.Command = main
        while isinstance(command, click.Group) and words and words[0] != "x":
            assert words[0] in command.commands, typed
            command = command.commands[words.pop(0)]
        options = {name for one in command.params for name in (*one.opts, "--help")}
        assert {word for word in words if word.startswith("--")} <= options, typed
    known = {definition.name for definition in TABLE}
    for name in re.findall(r"hydragate_\w+", text):
        assert any(name in (one, f"{one}_bucket") or one.startswith(name) for one in known), name
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        linked = (path.parent / target).resolve() if target else path
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.M)
        slugs = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}
        assert not anchor or anchor in slugs, f"{path.name}: {target}#{anchor}"
