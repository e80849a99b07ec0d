"""Addresses come from the networks that are described, by kind and country."""

from __future__ import annotations

import gzip
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.loadtests.worlds.load import LIBRARY
from gateway.loadtests.worlds.networks import ASN_FILE, KINDS, load_addresses
from gateway.policy.source import Report, parse_yaml

NETWORKS = LIBRARY / "worlds" / "networks.yaml"


def listed(kind: str) -> list[dict[str, Any]]:
    source = parse_yaml(NETWORKS.read_bytes(), "networks.yaml", Report())
    assert source is not None
    found: list[dict[str, Any]] = source.data[kind]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_addresses_stand_in_the_prefixes_of_their_kind_and_country(kind: str) -> None:
    pool, rng = load_addresses(None), Random(1)
    for country in pool.countries(kind):
        prefixes = [
            ip_network(prefix)
            for network in listed(kind)
            if network["country"] == country
            for prefix in [*network["prefixes"], *network.get("six", [])]
        ]
        for _ in range(50):
            address = ip_address(pool.draw(rng, kind, country))
            assert address.is_global
            assert any(address in prefix for prefix in prefixes)


def test_no_prefix_stands_under_two_kinds() -> None:
    kinds = {
        prefix: kind
        for kind in KINDS
        for network in listed(kind)
        for prefix in map(ip_network, [*network["prefixes"], *network.get("six", [])])
    }
    for one, kind in kinds.items():
        for other, other_kind in kinds.items():
            if one.version == other.version and kind != other_kind:
                assert not one.overlaps(other)


def test_a_country_without_such_a_network_gets_one_from_anywhere() -> None:
    assert ip_address(load_addresses(None).draw(Random(1), "vpn", "JP")).is_global


def test_carriers_keep_their_callers_behind_few_addresses() -> None:
    pool, rng = load_addresses(None), Random(1)
    drawn = {pool.draw_shared(rng, 1, "mobile", "IN") for _ in range(2_000)}
    assert len(drawn) == 64
    assert drawn != {pool.draw_shared(rng, 2, "mobile", "IN") for _ in range(2_000)}


def test_a_folder_of_address_data_gives_the_networks_by_number(tmp_path: Path) -> None:
    table = tmp_path / ASN_FILE
    table.parent.mkdir()
    rows = '8.8.0.0,8.8.255.255,7922,"Somebody, Inc."\n9.9.0.0,9.9.255.255,64500,Nobody\n'
    table.write_bytes(gzip.compress(rows.encode()))
    pool, rng = load_addresses(tmp_path), Random(1)
    drawn = [pool.draw(rng, "residential", "US") for _ in range(300)]
    assert all(address.startswith("8.8.") for address in drawn if ":" not in address)
    assert 0 < sum(":" in address for address in drawn) < 150
    # What the table does not know stays with the prefixes that are listed here.
    assert not pool.draw(rng, "residential", "DE").startswith("8.8.")
