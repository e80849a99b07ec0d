"""The least rights that docs/stores.md grants are enough for everything the gateway does."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

from gateway.loadtests.processes import gateway, standin
from tests.surfaces.conftest import (
    BANNED_KEY,
    GENEROUS,
    GOOD_KEY,
    ask_admin,
    metric,
    write_accounts,
    write_policy,
)
from tests.surfaces.raw_http import chat, post

from .servers import server

DOCS = Path(__file__).resolve().parents[2] / "docs" / "stores.md"


def granted() -> list[str]:
    """The rule of the page, word by word."""
    found = re.search(r"^ACL SETUSER hydragate on >[^ ]+ (.+?)\n```", DOCS.read_text(), re.M | re.S)
    assert found is not None, "docs/stores.md no longer shows its ACL rule"
    return found[1].replace("\\\n", " ").split()


def test_a_gateway_and_its_linker_live_with_the_rights_of_the_page(tmp_path: Path) -> None:
    rule = ("--user", "hydragate", "on", ">pw", *granted())
    with server(tmp_path, *rule) as own, standin("--time-scale", "0") as upstream:
        accounts = write_accounts(tmp_path / "accounts.jsonl")
        policy = write_policy(tmp_path / "policy", GENEROUS)
        with gateway(
            tmp_path / "data",
            *("--upstream", upstream, "--policy", str(policy), "--accounts", str(accounts)),
            *("--store", own.url.replace("//", "//hydragate:pw@")),
        ) as running:
            for body in (chat(), chat(stream=True), chat(user="u", max_tokens=3)):
                assert post(running.url, body, key=GOOD_KEY).status == 200
            assert post(running.url, chat(), key=BANNED_KEY).status == 403
            assert ask_admin(running, "GET", "/api/accounts/acc_good")[0] == 200
            assert ask_admin(running, "GET", "/api/accounts")[0] == 200
            assert ask_admin(running, "GET", "/api/clusters")[0] == 200
            ends = time.monotonic() + 10
            while metric(running, "hydragate_linker_status_age_seconds") > 5:
                assert time.monotonic() < ends
                threading.Event().wait(0.2)
            threading.Event().wait(2.5)  # a tick of the linker
        with own.client() as client:
            denied = client.execute_command("ACL", "LOG")
    assert not [(one["reason"], one["object"], one["context"]) for one in denied]
