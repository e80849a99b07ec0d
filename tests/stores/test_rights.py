"""The least rights that docs/stores.md grants are enough for everything the gateway does."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from pathlib import Path

from gateway.loadtests.processes import gateway, standin
from gateway.stores.opening import connect_store
from gateway.stores.state import StateBook
from gateway.stores.verification import VerificationBook
from tests.surfaces.conftest import (
    ACCOUNTS,
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


async def verify_and_carry(url: str) -> None:
    """What verification and `hydragate state` ask of a store beside the gateway's calls."""
    now_us = time.time_ns() // 1000
    store = await connect_store(url, timeout_s=5.0)
    try:
        book, carried = VerificationBook(store), StateBook(store)
        assert await book.claim("p", "acc_good", most=1, now_us=now_us, until_us=now_us + 10**9)
        await book.list_appeal("acc_good", now_us)
        await book.schedule("acc_good", now_us)
        assert await book.due(now_us, most=1)
        await book.bury("event", b"news")
        parts = (carried.accounts(), carried.proofs(), carried.waiting())
        records = [record for part in parts async for record in part]
        assert len(records) == len(ACCOUNTS) + 3
        for record in records:
            await carried.put(record)
        assert await book.appeal_count() == await book.dead_count() == 1
    finally:
        await store.aclose()


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
            asyncio.run(verify_and_carry(own.url.replace("//", "//hydragate:pw@")))
        with own.client() as client:
            denied = client.execute_command("ACL", "LOG")
    assert not [(one["reason"], one["object"], one["context"]) for one in denied]
