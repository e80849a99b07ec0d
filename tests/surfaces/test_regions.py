"""Regions on a running gateway: whose address counts, what is answered, data that change."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.adapters.geo.build import Tables, build
from gateway.loadtests.processes import GatewayProcess, gateway
from gateway.stores.embedded import socket_path

from .conftest import ask_admin, metric, write_accounts, write_policy
from .raw_http import Answer, chat, post

ROOT = Path(__file__).resolve().parents[2]
CLOSED, OPEN = "20.1.0.9", "20.2.0.9"  # in the file of these tests: CU and DE
LOCAL, FOREIGN, OWNED = "sk-local-0123456789", "sk-foreign-0123456789", "sk-owned-0123456789"
ERASED = "sk-erased-0123456789"
ACCOUNTS = [
    {"account_id": "acc_local", "keys": [LOCAL], "billing_country": "CU"},
    {"account_id": "acc_foreign", "keys": [FOREIGN], "billing_country": "DE"},
    {"account_id": "acc_erased", "keys": [ERASED], "billing_country": "CU", "phone_country": "DE"},
    {"account_id": "acc_owned", "keys": [OWNED], "ownership": "unsupported-majority"},
]
HEAD = """
version: 1
name: regions
mode: enforce
unknown_credentials: refuse
appeal: appeals@gateway.example
"""


def write_places(path: Path, countries: dict[str, str]) -> None:
    tables = Tables()
    for network, country in countries.items():
        block = ip_network(network)
        tables.countries[0].append((int(block[0]), int(block[-1]), country))
        tables.asns[0].append((int(block[0]), int(block[-1]), 64500))
    build(tables, path, made="2026-11-25", data_date="2026-11", attribution="tests")


PLACES = {"20.1.0.0/16": "CU", "20.2.0.0/16": "DE"}


@dataclass(frozen=True, slots=True)
class Regions:
    server: GatewayProcess
    places: Path

    def ask(self, key: str, chain: str, path: str = "/v1/chat/completions") -> Answer:
        body = chat(max_tokens=5)
        return post(
            self.server.url, body, key=key, path=path, headers=(("X-Forwarded-For", chain),)
        )


@pytest.fixture(scope="module")
def regions(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Regions]:
    folder = tmp_path_factory.mktemp("regions")
    places, config = folder / "places.geo", folder / "config.yaml"
    write_places(places, PLACES)
    config.write_text(
        "trusted_proxies: [127.0.0.0/8]\npolicy_poll_s: 0.2\n"
        f"geo: {{files: [{places}], bundled: false}}\nupstreams: [{{url: '{upstream}'}}]\n"
    )
    policy = write_policy(folder / "policies" / "enforce", HEAD)
    shutil.copy(ROOT / "policies/enforce/regions.yaml", policy)
    shutil.copytree(ROOT / "policies/sets", folder / "policies" / "sets")
    accounts = write_accounts(folder / "accounts.jsonl", ACCOUNTS)
    with gateway(
        folder / "data",
        *("--config", str(config), "--policy", str(policy), "--accounts", str(accounts)),
    ) as running:
        yield Regions(running, places)


def test_certainty_is_451_with_a_reference_and_where_to_appeal(regions: Regions) -> None:
    answer = regions.ask(LOCAL, CLOSED)
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (451, "region_not_supported")
    assert answer.headers["x-hydragate-decision"] in answer.body.decode()
    assert "appeals@gateway.example" in answer.body.decode()
    told = answer.body.decode()
    assert not any(fact in told for fact in ("CU", "Cuba", "64500", CLOSED, "billing"))


def test_the_other_dialect_says_so_in_its_own_words(regions: Regions) -> None:
    answer = regions.ask(OWNED, OPEN, "/v1/messages")
    assert answer.status == 451
    assert answer.json()["type"] == "error"
    assert "appeals@gateway.example" in answer.body.decode()


def test_a_fact_alone_is_asked_about_and_none_is_served(regions: Regions) -> None:
    assert regions.ask(FOREIGN, OPEN).status == 200
    answer = regions.ask(FOREIGN, CLOSED)
    assert answer.status == 403
    assert answer.json()["error"]["code"] == "verification_required"


def test_what_a_client_claims_moves_it_nowhere(regions: Regions) -> None:
    assert regions.ask(FOREIGN, f"{CLOSED}, {OPEN}").status == 200
    assert regions.ask(LOCAL, f"{OPEN}, {CLOSED}").status == 451
    assert regions.ask(FOREIGN, "10.9.9.9").status == 200, "a private address is no country"


def test_decisions_are_counted_by_class_and_set(regions: Regions) -> None:
    name = "hydragate_regions_total"
    before = metric(regions.server, name, region_set="embargoed-regions", verdict="deny")
    regions.ask(LOCAL, CLOSED)
    after = metric(regions.server, name, region_set="embargoed-regions", verdict="deny")
    assert after == before + 1
    assert metric(regions.server, "hydragate_networks_total", network_class="eyeball") > 0
    assert metric(regions.server, "hydragate_geo_age_seconds") > 0


def test_an_address_that_moved_moves_without_a_restart_and_damage_changes_nothing(
    regions: Regions,
) -> None:
    write_places(regions.places, {**PLACES, "20.1.0.0/16": "FR"})
    until(lambda: regions.ask(FOREIGN, CLOSED).status == 200)
    regions.places.write_bytes(regions.places.read_bytes()[:60])
    failed = "hydragate_geo_reload_total"
    until(lambda: metric(regions.server, failed, outcome="failed") > 0)
    refused = "hydragate_files_refused"
    threading.Event().wait(1.5)  # looked at again, and still bad
    assert metric(regions.server, refused, file="geo") == 1
    assert regions.ask(FOREIGN, CLOSED).status == 200
    write_places(regions.places, PLACES)
    until(lambda: regions.ask(FOREIGN, CLOSED).status == 403)
    assert metric(regions.server, refused, file="geo") == 0


def test_an_exception_by_import_holds_on_the_next_request(regions: Regions) -> None:
    assert regions.ask(LOCAL, CLOSED).status == 451
    record = {**ACCOUNTS[0], "contracts": ["region-licence"]}
    del record["keys"]
    assert ask_admin(regions.server, "PUT", "/api/accounts/acc_local", record)[0] == 200
    assert regions.ask(LOCAL, CLOSED).status == 200
    assert ask_admin(
        regions.server, "PUT", "/api/accounts/acc_local", {**record, "contracts": []}
    )[0] == 200  # fmt: skip


def test_which_facts_decided_is_told_and_an_erased_account_is_in_them_no_more(
    regions: Regions,
) -> None:
    reference = regions.ask(ERASED, CLOSED).headers["x-hydragate-decision"]
    told = explained(regions, reference)
    assert told["account"] == "acc_erased"
    assert "home_country CU; account_countries CU, DE; contracts none" in told["text"]
    assert CLOSED not in json.dumps(told), "the address itself is kept nowhere"
    assert names_in_store(regions, b"acc_erased")
    assert ask_admin(regions.server, "DELETE", "/api/accounts/acc_erased")[0] == 204
    assert not names_in_store(regions, b"acc_erased")
    after = explained(regions, reference)
    assert (after["account"], after["signals"]["home_country"]) == (None, "CU")
    assert "acc_erased" not in json.dumps(after)
    assert regions.ask(ERASED, CLOSED).status == 401


def explained(regions: Regions, reference: str) -> dict[str, Any]:
    """Once the log is flushed, which it is four times a second."""
    until(lambda: ask_admin(regions.server, "GET", f"/api/decisions/{reference}")[0] == 200)
    told: dict[str, Any] = ask_admin(regions.server, "GET", f"/api/decisions/{reference}")[1]
    return told


def names_in_store(regions: Regions, account_id: bytes) -> list[bytes]:
    """The keys that carry the account's id in their name or are text that does."""
    path = socket_path(regions.places.parent / "data" / "store")
    with redis.Redis(unix_socket_path=str(path)) as client:
        names = list(client.scan_iter(count=1000))
        texts = [name for name in names if client.type(name) == b"string"]
        values = dict(zip(texts, client.mget(texts), strict=True))
    return [name for name in names if account_id in name or account_id in (values.get(name) or b"")]


def test_a_damaged_file_at_start_is_named_and_nothing_is_served(
    upstream: str, tmp_path: Path
) -> None:
    bad, config = tmp_path / "bad.geo", tmp_path / "config.yaml"
    bad.write_bytes(b"hydrageo1\nnot more than that")
    config.write_text(f"geo: {{files: [{bad}]}}\nupstreams: [{{url: '{upstream}'}}]\n")
    policy = write_policy(tmp_path / "policy", HEAD)
    with pytest.raises(Exception, match=r"bad\.geo"):
        GatewayProcess(tmp_path / "data", "--config", str(config), "--policy", str(policy))


def until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Asks again until it holds; what a reload takes is not for the test to know."""
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, "it never held"
        time.sleep(0.05)
