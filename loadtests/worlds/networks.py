"""Addresses by kind of network and country: from the prefixes in `networks.yaml`, or from a folder
of address data (`geo/` of the evaluation data), where the same networks are taken whole by number.
"""

from __future__ import annotations

import csv
import gzip
from bisect import bisect
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

from ...policy.source import Report, parse_yaml
from .seeds import python_rng

HERE = Path(__file__).resolve().parent
ASN_FILE = "geo/D_asn_ipv4_2026-06.csv.gz"
KINDS = ("residential", "mobile", "office", "hosting", "vpn", "privacy_proxy", "education")
SHARED_EXITS = 64
SIX_SHARE = 0.3
Range = tuple[int, int]


class AddressPool:
    """Draws addresses of a kind, uniform over its ranges; of one country where there is any.

    `six` are IPv6 networks by kind and country: where there are some, `SIX_SHARE` of callers.
    """

    def __init__(
        self,
        ranges: dict[tuple[str, str], list[Range]],
        six: dict[tuple[str, str], list[IPv6Network]] | None = None,
    ) -> None:
        self._six = six or {}
        self._ranges: dict[tuple[str, str | None], tuple[list[Range], list[int]]] = {}
        self._countries: dict[str, list[str]] = {}
        self._shared: dict[tuple[int, str, str, int], str] = {}
        for (kind, country), found in sorted(ranges.items()):
            self._put((kind, country), found)
            self._countries.setdefault(kind, []).append(country)
        for kind in KINDS:
            every = [r for (k, _), found in sorted(ranges.items()) if k == kind for r in found]
            self._put((kind, None), every)

    def _put(self, key: tuple[str, str | None], ranges: list[Range]) -> None:
        sizes = [last - first + 1 for first, last in ranges]
        self._ranges[key] = (ranges, list(accumulate(sizes)))

    def countries(self, kind: str) -> list[str]:
        return self._countries[kind]

    def draw(self, rng: Random, kind: str, country: str | None = None) -> str:
        """One address; where the kind has nothing in `country`, one from anywhere."""
        six = self._six.get((kind, country)) if country is not None else None
        if six is not None and rng.random() < SIX_SHARE:
            network = rng.choice(six)
            return str(network[rng.getrandbits(128 - network.prefixlen)])
        return self._draw_four(rng, kind, country)

    def _draw_four(self, rng: Random, kind: str, country: str | None) -> str:
        ranges, sums = self._ranges.get((kind, country)) or self._ranges[kind, None]
        at = rng.randrange(sums[-1])
        index = bisect(sums, at)
        first, last = ranges[index]
        number = first + at - (sums[index] - (last - first + 1))
        if number & 0xFF in (0, 255):  # no host sits on a /24's first or last address
            number ^= 0x41
        return str(IPv4Address(number))

    def draw_shared(self, rng: Random, seed: int, kind: str, country: str) -> str:
        """One of the few IPv4 addresses that a carrier, VPN or proxy keeps its callers behind."""
        number = int(rng.random() * SHARED_EXITS)
        key = (seed, kind, country, number)
        found = self._shared.get(key)
        if found is None:
            own = python_rng(seed, "shared-exit", kind, country, number)
            found = self._shared[key] = self._draw_four(own, kind, country)
        return found


@lru_cache(maxsize=4)
def load_addresses(data_dir: Path | None) -> AddressPool:
    """From the address data in `data_dir` where it is there, else from the prefixes listed here."""
    listed = _listed()
    table = None if data_dir is None else data_dir / ASN_FILE
    if table is None or not table.is_file():
        return AddressPool(_by_prefix(listed), _six(listed))
    return AddressPool(_by_number(listed, table), _six(listed))


def _listed() -> list[tuple[str, dict[str, Any]]]:
    path = HERE / "networks.yaml"
    report = Report()
    source = parse_yaml(path.read_bytes(), path.name, report)
    if source is None or report.has_errors:
        raise ValueError("; ".join(map(str, report.problems)))
    return [(kind, network) for kind in KINDS for network in source.data[kind]]


def _by_prefix(listed: list[tuple[str, dict[str, Any]]]) -> dict[tuple[str, str], list[Range]]:
    ranges: dict[tuple[str, str], list[Range]] = {}
    for kind, network in listed:
        for text in network["prefixes"]:
            prefix = IPv4Network(text)
            found = ranges.setdefault((kind, network["country"]), [])
            found.append((int(prefix[0]), int(prefix[-1])))
    return ranges


def _six(listed: list[tuple[str, dict[str, Any]]]) -> dict[tuple[str, str], list[IPv6Network]]:
    found: dict[tuple[str, str], list[IPv6Network]] = {}
    for kind, network in listed:
        for text in network.get("six", ()):
            found.setdefault((kind, network["country"]), []).append(IPv6Network(text))
    return found


def _by_number(
    listed: list[tuple[str, dict[str, Any]]], table: Path
) -> dict[tuple[str, str], list[Range]]:
    places: dict[str, tuple[str, str]] = {}
    for kind, network in listed:
        places.setdefault(str(network["asn"]), (kind, network["country"]))
    ranges: dict[tuple[str, str], list[Range]] = {}
    with gzip.open(table, "rt", encoding="utf-8") as lines:
        for first, last, number, _ in csv.reader(lines):
            place = places.get(number)
            if place is not None:
                pair = (int(ip_address(first)), int(ip_address(last)))
                ranges.setdefault(place, []).append(pair)
    for place, found in _by_prefix(listed).items():
        ranges.setdefault(place, found)
    return ranges
