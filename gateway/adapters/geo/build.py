"""From public tables to one compact file: country by DB-IP, ASN by routing table, class by lists.

Ranges of all sources are cut at each other's edges; neighbours with the same place are joined.
IPv6 is kept to the /64. Of two classes for one address the one on the narrower network holds, of
equal ones the one read later. What is announced and in no list is `hosting` where most of its AS
is in a list of hosting or VPN networks (lists miss some of a cloud's networks, hardly ever most),
else `eyeball`.
"""

from __future__ import annotations

import csv
import gzip
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path

import maxminddb

from ...errors import UsageError
from ...model import NOWHERE, Place
from .compact import Header, Ranges, pack_place, write_compact
from .mmdb import place_in

MOSTLY = 0.6
"""Share of an AS's addresses: of 84,000 AS all but a few hundred have under 0.1 or over 0.9."""
PRIVATE_EXITS = frozenset({"apple-proxy", "protonvpn"})
Spans = list[tuple[int, int, object]]
"""(first, last, value) in addresses, or for IPv6 in /64 networks; later ones win over earlier."""

Piece = tuple[int, str | None, int | None, str | None]
"""(start, country, ASN, class); it ends where the next begins."""


@dataclass(slots=True)
class Tables:
    """What was read, by IP version: 0 for IPv4, 1 for IPv6."""

    countries: tuple[Spans, Spans] = field(default_factory=lambda: ([], []))
    asns: tuple[Spans, Spans] = field(default_factory=lambda: ([], []))
    classes: tuple[Spans, Spans] = field(default_factory=lambda: ([], []))

    def read_countries(self, path: Path) -> None:
        """A MaxMind-format file with `country_code` or `country.iso_code`. Raises UsageError."""
        try:
            with maxminddb.open_database(path) as reader:
                for network, found in reader:
                    country = place_in(found).country if isinstance(found, dict) else None
                    if country is not None:
                        first, last = int(network[0]), int(network[-1])
                        self._put(self.countries, first, last, network.version, country)
        except (OSError, maxminddb.InvalidDatabaseError, ValueError) as error:
            raise UsageError(f"{path}: is no sound MaxMind database: {error}") from None

    def read_asns(self, path: Path) -> None:
        """CSV: first address, last address, number, name. Raises UsageError with the line."""
        for number, row in enumerate(csv.reader(_lines(path)), 1):
            try:
                first, last = ip_address(row[0]), ip_address(row[1])
                self._put(self.asns, int(first), int(last), first.version, int(row[2]))
            except (ValueError, IndexError):
                raise UsageError(f"{path}:{number}: not first,last,asn,…: {row}") from None

    def read_class(self, path: Path, network_class: str) -> None:
        """A list of networks, one a line, or `provider,cidr`: a provider of private exits is `vpn`
        whatever is asked for. Raises UsageError with the line."""
        for number, line in enumerate(_lines(path), 1):
            provider, _, text = line.strip().rpartition(",")
            if not text or text.startswith("#") or (number == 1 and text == "cidr"):
                continue
            try:
                network = ip_network(text, strict=False)
            except ValueError:
                raise UsageError(f"{path}:{number}: '{text[:64]}' is no network") from None
            said = "vpn" if provider in PRIVATE_EXITS else network_class
            self._put(self.classes, int(network[0]), int(network[-1]), network.version, said)

    def _put(
        self, spans: tuple[Spans, Spans], first: int, last: int, version: int, value: object
    ) -> None:
        if version == 4:
            spans[0].append((first, last, value))
        else:
            spans[1].append((first >> 64, last >> 64, value))


def build(
    tables: Tables,
    path: Path,
    *,
    made: str,
    data_date: str,
    attribution: str,
    lists: dict[str, str] | None = None,
    whole: tuple[str, ...] = (),
) -> Header:
    """Write `path` and return its header; `lists` and `whole` as there."""
    numbers: dict[Place, int] = {NOWHERE: 0}
    pieces = [_pieces(tables, version) for version in (0, 1)]
    clouds = mostly_hosting(pieces[1]) | mostly_hosting(pieces[0])
    four, six = (
        _ranges(found, code, clouds, numbers) for found, code in zip(pieces, "IQ", strict=True)
    )
    header = Header(
        *(made, data_date, attribution, len(numbers), len(four.starts), len(six.starts)),
        lists=lists or {},
        whole=whole,
    )
    write_compact(path, header, [pack_place(place) for place in numbers], four, six)
    return header


def _pieces(tables: Tables, version: int) -> list[Piece]:
    layers = [_flat(t[version]) for t in (tables.countries, tables.asns, tables.classes)]
    return [(start, *held) for start, held in _together(layers)]  # type: ignore[misc]


def mostly_hosting(pieces: Sequence[Piece]) -> frozenset[int]:
    """The AS of which at least `MOSTLY` is listed as hosting or VPN."""
    whole: Counter[int] = Counter()
    listed: Counter[int] = Counter()
    for (start, _, asn, network_class), after in pairwise(pieces):
        if asn is not None:
            whole[asn] += after[0] - start
            listed[asn] += (after[0] - start) * (network_class in ("hosting", "vpn"))
    return frozenset([asn for asn, size in whole.items() if listed[asn] >= MOSTLY * size])


def _ranges(
    pieces: Sequence[Piece], code: str, clouds: frozenset[int], numbers: dict[Place, int]
) -> Ranges:
    starts, places = array(code), array("I")
    before = 0
    for start, country, asn, network_class in pieces:
        if network_class is None and asn is not None:
            network_class = "hosting" if asn in clouds else "eyeball"
        number = numbers.setdefault(Place(country, asn, network_class), len(numbers))
        if number != before or not starts:
            starts.append(start)
            places.append(number)
            before = number
    return Ranges(starts, places)


def _flat(spans: Spans) -> list[tuple[int, object]]:
    """(start, value) of disjoint pieces in order, None between them; of overlapping spans the
    narrower holds, of equal ones the later."""
    pieces: list[tuple[int, object]] = []
    stack: list[tuple[int, object]] = []  # (last, value) of the spans that hold here

    def close(until: int) -> None:
        while stack and stack[-1][0] < until:
            last, _ = stack.pop()
            pieces.append((last + 1, stack[-1][1] if stack else None))

    order = sorted(range(len(spans)), key=lambda i: (spans[i][0], -spans[i][1], i))
    for first, last, value in (spans[index] for index in order):
        close(first)
        while stack and stack[-1][0] < last:  # overlaps without being inside: what is left of it
            stack.pop()
        stack.append((last, value))
        pieces.append((first, value))
    close(1 << 65)
    return pieces


def _together(
    layers: Sequence[Sequence[tuple[int, object]]],
) -> Iterator[tuple[int, tuple[object, ...]]]:
    """Each start at which any layer changes, with the values of all."""
    changes: list[tuple[int, int, object]] = [
        (start, layer, value) for layer, pieces in enumerate(layers) for start, value in pieces
    ]
    changes.sort(key=lambda change: change[0])
    held: list[object] = [None] * len(layers)
    index = 0
    while index < len(changes):
        start = changes[index][0]
        while index < len(changes) and changes[index][0] == start:
            held[changes[index][1]] = changes[index][2]
            index += 1
        yield start, tuple(held)


def _lines(path: Path) -> Iterable[str]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                yield from lines
        else:
            with path.open(encoding="utf-8") as lines:
                yield from lines
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from None
