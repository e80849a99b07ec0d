"""The console in real Chromium, without script: by keyboard, and on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.loadtests.processes import GatewayProcess, gateway

from .browser import Browser, needs_chromium
from .conftest import ask_admin, write_accounts, write_policy
from .raw_http import chat, post
from .test_linking import CONFIG, POOL, pool_accounts, send_all, until_linked
from .verifying import verifying

DESK, PHONE = 1_100, 320
KEY = "sk-appeals-0123456789abcdef"


@pytest.fixture
def running(tmp_path: Path, upstream: str) -> Iterator[GatewayProcess]:
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG + f"upstreams: [{{url: '{upstream}'}}]\n")
    policy = write_policy(tmp_path / "policy")
    accounts = write_accounts(tmp_path / "accounts.jsonl", pool_accounts())
    options = ("--config", str(config), "--policy", str(policy), "--accounts", str(accounts))
    with gateway(tmp_path / "data", *options) as one:
        yield one


@pytest.fixture
def page(opened: Browser) -> Browser:
    opened.resize(DESK, 900)
    return opened


def sign_in(page: Browser, server: GatewayProcess, by: str) -> None:
    page.open(server.admin + "/console")
    assert page.named("heading") == ["Sign in"]
    page.tab_to("Your name, for the audit log")
    page.write(by)
    page.tab_to("Admin token")
    page.write(server.token)
    page.enter()
    assert page.named("heading")[0] == "Overview"


@needs_chromium
def test_a_cluster_is_reviewed_and_an_account_set_free_by_keyboard(
    running: GatewayProcess, page: Browser, shots: Path, tmp_path: Path
) -> None:
    send_all(running)
    cluster_id = until_linked(running)
    sign_in(page, running, "ada")
    page.screenshot(shots / "console-1-overview.png")
    page.tab_to("Clusters")
    page.enter()
    page.tab_to(cluster_id)
    page.enter()
    assert page.named("heading")[0] == f"Cluster {cluster_id}"
    assert f"Accounts 1 to {POOL} of {POOL}" in page.named("heading")
    assert "share a payment with another" in page.text()
    page.screenshot(shots / "console-2-cluster.png")
    page.tab_to("Why (kept with the decision and in the audit log)")
    page.write("they send in turn")
    page.tab_to("Confirm: it is one hand")
    page.enter()
    assert "Confirmed: policies that ask for it apply" in page.text()
    assert ask_admin(running, "GET", "/api/accounts/pool_7")[1]["cluster_state"] == "confirmed"
    page.open(f"{running.admin}/console/accounts/pool_7")
    page.tab_to("Why (kept in the audit log)")
    page.write("a card that was stolen")
    page.tab_to("Ban this account")
    page.enter()
    assert "Banned, on every worker" in page.text()
    refused = post(running.url, chat(), key="sk-pool-0007-0123456789")
    assert refused.status == 403
    page.tab_to("Decision or account")
    page.write("req_" + refused.headers["x-hydragate-decision"])
    page.enter()
    while page.named("heading")[0] == "Not found":  # until its line is in the log
        page.open(page.url)
    assert "DENY, because of account_banned." in page.text()
    page.screenshot(shots / "console-3-decision.png")
    page.open(f"{running.admin}/console/accounts/pool_7")
    page.tab_to("Why (kept in the audit log)")
    page.write("it was another card")
    page.tab_to("Take back the ban")
    page.enter()
    assert post(running.url, chat(), key="sk-pool-0007-0123456789").status == 200
    lines = (tmp_path / "data" / "audit.jsonl").read_text().splitlines()
    done = [json.loads(line) for line in lines]
    assert [
        (one["action"], one["by"], one["reason"]) for one in done if one["outcome"] == "done"
    ] == [
        ("cluster.confirm", "ada", "they send in turn"),
        ("account.patch", "ada", "a card that was stolen"),
        ("account.unban", "ada", "it was another card"),
    ]
    page.resize(PHONE, 640)
    for path in ("", "/clusters", f"/clusters/{cluster_id}", "/accounts/pool_7", "/appeals"):
        page.open(f"{running.admin}/console{path}")
        assert page.content_width() <= PHONE, path
        for role in ("textbox", "searchbox", "button", "link", "DisclosureTriangle"):
            assert all(page.named(role)), (path, role)
    page.screenshot(shots / "console-4-phone.png")


@needs_chromium
def test_the_kill_switch_and_an_appeal(
    page: Browser, shots: Path, tmp_path: Path, upstream: str
) -> None:
    with verifying(tmp_path, upstream, [{"account_id": "acc/a", "keys": [KEY]}]) as site:
        page.open(site.link(KEY, "big"))
        page.tab_to("Is this a mistake, or can you not do this? Write to us.")
        page.enter()
        page.tab_to("What should we know?")
        page.write("I have no passport & <b>need</b> another way.")
        page.tab_to("Send")
        page.enter()
        sign_in(page, site.server, "ines")
        page.tab_to("Appeals")
        page.enter()
        assert "I have no passport & <b>need</b> another way." in page.text()
        page.screenshot(shots / "console-5-appeals.png")
        page.tab_to("Answer (the caller reads it)")
        page.write("We have taken your word for it.")
        page.tab_to("Send the answer")
        page.enter()
        assert "Nobody waits for an answer." in page.text()
        page.open(site.server.admin + "/console")
        page.tab_to("The kill switch")
        page.enter()
        page.tab_to("Why (kept in the audit log)")
        page.write("a rule refuses everybody")
        page.tab_to("Stop every refusal")
        page.enter()
        assert "shadow-all: every rule and every limit is recorded" in page.text()
        page.screenshot(shots / "console-6-shadow-all.png")
        assert ask_admin(site.server, "GET", "/api/mode")[1] == {"mode": "shadow-all"}
        page.tab_to("Sign out ines")
        page.enter()
        page.open(site.server.admin + "/console/appeals")
        assert page.named("heading") == ["Sign in"]
