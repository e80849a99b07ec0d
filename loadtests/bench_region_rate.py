"""Throughput of the gateway with all region signals and without any, in turn in one run.

Run: python -m hydragate.loadtests.bench_region_rate [--rounds N] [--save FILE]

All gateways stand on one core, the load, the model API and the store on the other; only one of
them is asked at a time, and their order changes from round to round. Every request comes
by a trusted proxy from another one of 2,000 addresses: 19 of 20 from homes in the country that the
account's records name, the others from anywhere. *off*: no address data, no region rule, no window.
*places*: as *on* without what needs a window of the account (travel, hosting share, last country).
*on*: the shipped address data, the shipped region rules over a set of 200 countries where no
account is from, a rule over 10,000 AS, and the window of each account, from which travel, hosting
share and last country are read.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Any

import click
import yaml

from ..adapters.geo import bundled_geo
from .bench.in_turn import compare
from .bench.rig import (
    ACCOUNTS,
    MEASURED_CPU,
    OTHER_CPU,
    POLICY,
    Measured,
    _ask,
    _store,
    keys,
    machine,
    wires,
)
from .processes import ROOT, gateway, standin

SET = "embargoed-regions"
COUNTRIES, SYSTEMS = 200, 10_000
HOMES = ("US", "DE", "FR", "BR")
WARM_UP = 8_000  # caches are full, and evidence is sampled as thinly as of any busy account
AWAY_EVERY = 21  # prime to the number of accounts, so that all of them travel
WINDOWED = """, hosting_share_24h: {gt: 0.5},
           last_country: {in: [US, DE]}"""
MORE_RULES = """
  - name: from-systems
    why: a rule over very many AS, as an operator's own list is one
    mode: shadow
    when: {asn: {in: systems}, network_class: hosting, hosting_share_24h: {gt: 0.5},
           last_country: {in: [US, DE]}}
    on_unknown: no_match
    then: {deny: {status: 451}}
"""


def home_of(account: int) -> str:
    return HOMES[account % len(HOMES)]


def addresses(count: int, seed: int = 1) -> Iterator[str]:
    """The address of each request, where request n is of account n modulo `ACCOUNTS`."""
    rng, geo = Random(seed), bundled_geo()
    for number in range(count):
        while True:
            address = IPv4Address(rng.randrange(1 << 24, 224 << 24))
            place = geo.place_of(address)
            is_home = (place.country, place.network_class) == (
                home_of(number % ACCOUNTS),
                "eyeball",
            )
            if is_home or (number % AWAY_EVERY == 0 and place.country is not None):
                break
        yield str(address)


def wires_from_places() -> list[bytes]:
    plain = wires()
    return [
        wire.replace(b"\r\n", f"\r\nx-forwarded-for: {address}\r\n".encode(), 1)
        for wire, address in zip(plain, addresses(len(plain)), strict=True)
    ]


def country_codes(count: int = COUNTRIES, seed: int = 1) -> list[str]:
    """Drawn from all pairs of letters but the accounts' own countries."""
    pairs = {chr(65 + n // 26) + chr(65 + n % 26) for n in range(26 * 26)} - set(HOMES)
    return sorted(Random(seed).sample(sorted(pairs), count))


def write_policy_on(folder: Path) -> Path:
    """The bench's policy with the shipped region rules in shadow, so that all is served."""
    folder.mkdir()
    systems = ", ".join(str(number) for number in range(1, SYSTEMS + 1))
    more = POLICY.replace("\nrules:\n", f"\nsets:\n  systems: [{systems}]\nrules:{MORE_RULES}")
    (folder / "policy.yaml").write_text(more)
    shipped = yaml.safe_load((ROOT / "policies/observe/regions.yaml").read_text())
    rules = [{**rule, "mode": "shadow"} for rule in shipped["rules"]]
    (folder / "regions.yaml").write_text(yaml.safe_dump({**shipped, "rules": rules}))
    sets = folder / "sets"
    sets.mkdir()
    told = yaml.safe_load((ROOT / f"policies/sets/{SET}.yaml").read_text())
    told |= {"values": country_codes(), "source": "drawn for a benchmark"}
    (sets / f"{SET}.yaml").write_text(yaml.safe_dump(told))
    return folder


def write_policy_places(folder: Path) -> Path:
    write_policy_on(folder)
    policy, regions = folder / "policy.yaml", folder / "regions.yaml"
    policy.write_text(policy.read_text().replace(WINDOWED, ""))
    told = yaml.safe_load(regions.read_text())
    rules = [rule for rule in told["rules"] if "travel_kmh" not in rule["when"]]
    regions.write_text(yaml.safe_dump({**told, "rules": rules}))
    return folder


def write_policy_off(folder: Path) -> Path:
    folder.mkdir()
    (folder / "policy.yaml").write_text(POLICY)
    return folder


def write_accounts(path: Path) -> Path:
    lines = [
        {
            "account_id": f"acc_{number}",
            "tier": "scale",
            "keys": [key],
            "billing_country": home_of(number),
            "phone_country": home_of(number),
        }
        for number, key in enumerate(keys())
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


POLICIES = {"off": write_policy_off, "places": write_policy_places, "on": write_policy_on}


@contextlib.contextmanager
def gateways() -> Iterator[list[Measured]]:
    """One without regions, one without windows, one with all; each has a store of its own."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(standin("--fast", cpu=OTHER_CPU))
        found = []
        for name, write in POLICIES.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            store = stack.enter_context(_store(folder))
            config = folder / "config.yaml"
            settings = {
                "upstreams": [{"url": upstream}],
                "policy": str(write(folder / "policy")),
                "accounts": str(write_accounts(folder / "accounts.jsonl")),
                "store": store,
                "store_timeout_s": 1.0,  # a store that waits for a core is not broken
                "trusted_proxies": ["127.0.0.0/8"],
                "geo": {"bundled": name != "off"},
            }
            config.write_text(yaml.safe_dump(settings))
            server = stack.enter_context(
                gateway(folder / "data", "--config", str(config), cpu=MEASURED_CPU)
            )
            pid = _ask(server.admin, server.token)["worker_pids"][0]
            found.append(Measured(name, server.url, pid))
        yield found


def run(rounds: int, requests: int) -> dict[str, Any]:
    with gateways() as found:
        return compare(
            found, wires_from_places(), warm_up=WARM_UP, rounds=rounds, requests=requests
        )


@click.command()
@click.option("--rounds", type=click.IntRange(1, 1000), default=24, show_default=True)
@click.option("--requests", type=click.IntRange(100, 100_000), default=1_000, show_default=True)
@click.option("--save", type=click.Path(path_type=Path), help="Write the results here as JSON.")
def main(rounds: int, requests: int, save: Path | None) -> None:
    """Requests a second with and without regions, and the ratios of the pairs."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {OTHER_CPU})
    found = {"machine": machine(), "regions": run(rounds, requests)}
    click.echo(json.dumps(found["regions"], indent=2))
    if save is not None:
        save.parent.mkdir(parents=True, exist_ok=True)
        save.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
