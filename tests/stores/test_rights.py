"""The least rights that docs/stores.md grants are enough for everything the gateway does."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from pathlib import Path

import pytest
import redis

from gateway.loadtests.processes import gateway, standin
from gateway.loadtests.servers.cluster import cluster
from gateway.loadtests.servers.sentinel import watched_pair
from gateway.loadtests.servers.valkey import Server, binaries, server, version_of
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

SETINFO_SINCE = (7, 2)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "stores.md"


def granted() -> list[str]:
    """The rule of the page, word by word."""
    found = re.search(r"^ACL SETUSER hydragate on >[^ ]+ (.+?)\n```", DOCS.read_text(), re.M | re.S)
    assert found is not None, "docs/stores.md no longer shows its ACL rule"
    return found[1].replace("\\\n", " ").split()


def added_for(whom: str) -> list[str]:
    """What else the page says that a Cluster's nodes, or the user of Sentinels, need."""
    found = re.search(rf"^{whom}: `([^`]+)`", DOCS.read_text(), re.M)
    assert found is not None, f"docs/stores.md no longer says what {whom} need"
    return found[1].split()


def user(rule: list[str]) -> tuple[str, ...]:
    return ("--user", "hydragate", "on", ">pw", *rule)


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


def live(folder: Path, url: str) -> None:
    """A gateway, its linker, verification and `hydragate state`, for a while."""
    with standin("--time-scale", "0") as upstream:
        accounts = write_accounts(folder / "accounts.jsonl")
        policy = write_policy(folder / "policy", GENEROUS)
        with gateway(
            folder / "data",
            *("--upstream", upstream, "--policy", str(policy), "--accounts", str(accounts)),
            *("--store", url),
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
            asyncio.run(verify_and_carry(url))


def denied_by(*servers: Server) -> list[tuple[object, ...]]:
    """What somebody wanted to do there and may not."""
    found: list[tuple[object, ...]] = []
    for one in servers:
        with one.client() as client:
            log = client.acl_log()
            found += [(entry["reason"], entry["object"], entry["username"]) for entry in log]
    return found


def test_a_gateway_and_its_linker_live_with_the_rights_of_the_page(tmp_path: Path) -> None:
    with server(tmp_path, *user(granted())) as own:
        live(tmp_path, own.url.replace("//", "//hydragate:pw@"))
        assert not denied_by(own)


@pytest.mark.parametrize("binary", binaries())
def test_on_a_cluster_with_what_the_page_adds(tmp_path: Path, binary: str) -> None:
    rule = [*granted(), *added_for("Cluster")]
    if binary == "redis" and version_of(binaries()[binary]) < SETINFO_SINCE:
        rule.remove("+client|setinfo")  # as the page says
    with cluster(tmp_path, *user(rule), binary=binaries()[binary]) as running:
        live(tmp_path, running.url.replace("//", "//hydragate:pw@"))
        assert not denied_by(*running.nodes)


def test_behind_a_sentinel_with_what_the_page_gives_its_user(tmp_path: Path) -> None:
    sentinels = f"user hydragate on >pw2 -@all {' '.join(added_for('Sentinels'))}"
    rule = user(granted())
    with watched_pair(tmp_path, *rule, sentinel_settings=(sentinels,)) as (one, other, watcher):
        live(
            tmp_path,
            f"redis+sentinel://hydragate:pw@127.0.0.1:{watcher.port}/main"
            "?sentinel_user=hydragate&sentinel_password=pw2",
        )
        assert not denied_by(one, other, watcher)


def test_with_a_right_less_something_is_denied(tmp_path: Path) -> None:
    """So that an empty ACL log means something."""
    rule = [word for word in granted() if word != "+hget"]
    with server(tmp_path, *user(rule)) as own, own.client() as client:
        client.execute_command("AUTH", "hydragate", "pw")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.hget("hg:x", "y")
        assert denied_by(own)
