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

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Any

import yaml

from ..adapters.geo import bundled_geo
from .bench.in_turn import OFF, main_of, write_accounts
from .bench.rig import ACCOUNTS, POLICY, wires
from .processes import ROOT

SET = "embargoed-regions"
COUNTRIES, SYSTEMS = 200, 10_000
HOMES = ("US", "DE", "FR", "BR")
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


def records_of(number: int) -> dict[str, Any]:
    return {"billing_country": home_of(number), "phone_country": home_of(number)}


POLICIES = {OFF: write_policy_off, "places": write_policy_places, "on": write_policy_on}


def settings(name: str, folder: Path) -> dict[str, Any]:
    return {
        "policy": str(POLICIES[name](folder / "policy")),
        "accounts": write_accounts(folder / "accounts.jsonl", records_of),
        "trusted_proxies": ["127.0.0.0/8"],
        "geo": {"bundled": name != OFF},
    }


main = main_of("regions", tuple(POLICIES), settings, wires_from_places)

if __name__ == "__main__":
    main()
