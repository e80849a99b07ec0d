"""Address data: the bundled file, MaxMind-format files, damage, exchange while serving."""

from __future__ import annotations

import os
import struct
import tempfile
import threading
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.geo import BUNDLED, GeoHolder, bundled_geo, geo_paths
from gateway.adapters.geo.build import Tables, build
from gateway.adapters.geo.compact import Indexed, Ranges, read_compact
from gateway.adapters.geo.mmdb import MmdbGeo, place_in
from gateway.adapters.geo.sources import open_file
from gateway.adapters.geo.special import is_global
from gateway.errors import UsageError
from gateway.model import NOWHERE, Place

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "geo" / "maxmind_test"
needs_maxmind = pytest.mark.skipif(
    not SHARED.is_dir(), reason="missing: MaxMind's test databases (evaluation data, not shipped)"
)
# Well known addresses, by who announces them (public facts of routing).
WELL_KNOWN = [
    ("8.8.8.8", 15169, "hosting"),
    ("9.9.9.9", 19281, None),
    ("1.1.1.1", 13335, None),
    ("2001:4860:4860::8888", 15169, None),
    ("2606:4700:4700::1111", 13335, None),
    ("52.95.110.1", 16509, "hosting"),
    ("193.0.6.139", 3333, "eyeball"),
]


def small(folder: Path, name: str = "small.geo", network: str = "20.1.0.0/16") -> Path:
    """A file of one country, one AS and one list."""
    tables, block = Tables(), ip_network(network)
    first, last = int(block[0]), int(block[-1])
    tables.countries[0].append((first, last, "DE"))
    tables.asns[0].append((first, first + 1023, 64500))
    tables.classes[0].append((first + 256, first + 511, "hosting"))
    tables.countries[1].append((0x2A00_0000 << 32, (0x2A00_0001 << 32) - 1, "FR"))
    path = folder / name
    build(tables, path, made="2026-11-25", data_date="2026-06", attribution="tests")
    return path


def place(path: Path, text: str) -> Place:
    return read_compact(path).place_of(ip_address(text))


def test_ranges_are_cut_at_each_others_edges(tmp_path: Path) -> None:
    path = small(tmp_path)
    assert place(path, "20.0.255.255") == NOWHERE
    assert place(path, "20.1.0.0") == Place("DE", 64500, "eyeball")
    assert place(path, "20.1.1.0") == Place("DE", 64500, "hosting")
    assert place(path, "20.1.1.255") == Place("DE", 64500, "hosting")
    assert place(path, "20.1.2.0") == Place("DE", 64500, "eyeball")
    assert place(path, "20.1.4.0") == Place("DE", None, None)
    assert place(path, "20.1.255.255") == Place("DE", None, None)
    assert place(path, "20.2.0.0") == NOWHERE
    assert place(path, "2a00::1") == Place("FR", None, None)
    assert place(path, "2a00:1::1") == NOWHERE


def test_what_lists_miss_of_a_cloud_is_hosting_and_of_a_carrier_is_not(tmp_path: Path) -> None:
    """AS 64500 is listed for 3/4 of it, AS 64501 for 1/4; IPv6 goes by the same AS."""
    tables, start = Tables(), int(IPv4Address("20.1.0.0"))
    tables.asns[0].extend([(start, start + 1023, 64500), (start + 1024, start + 2047, 64501)])
    tables.classes[0].append((start, start + 511, "hosting"))
    tables.classes[0].append((start + 512, start + 767, "vpn"))
    tables.classes[0].append((start + 1024, start + 1279, "hosting"))
    tables.asns[1].append((0x2A00_0000 << 32, (0x2A00_0001 << 32) - 1, 64500))
    path = tmp_path / "clouds.geo"
    build(tables, path, made="2026-11-25", data_date="2026-06", attribution="tests")
    assert place(path, "20.1.2.0").network_class == "vpn", "what a list says holds"
    assert place(path, "20.1.3.0") == Place(None, 64500, "hosting")
    assert place(path, "20.1.4.0") == Place(None, 64501, "hosting")
    assert place(path, "20.1.5.0") == Place(None, 64501, "eyeball")
    assert place(path, "2a00::1") == Place(None, 64500, "hosting")


@given(
    st.lists(
        st.tuples(st.integers(0, 4000), st.integers(0, 300), st.sampled_from(["DE", "FR", "US"])),
        max_size=12,
    )
)
def test_of_overlapping_ranges_the_narrower_holds(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[int, int, str]]
) -> None:
    nested = [(a, a + b, c) for a, b, c in spans]
    kept: list[tuple[int, int, str]] = []
    for first, last, value in nested:  # networks are nested or disjoint, never half over
        if all(last < a or first > b or (a <= first and last <= b) or (first <= a and b <= last)
               for a, b, _ in kept):  # fmt: skip
            kept.append((first, last, value))
    base = int(IPv4Address("20.0.0.0"))
    tables = Tables()
    tables.countries[0].extend((base + a, base + b, c) for a, b, c in kept)
    path = tmp_path_factory.mktemp("geo") / "x.geo"
    build(tables, path, made="", data_date="2026-06", attribution="")
    source = read_compact(path)
    for number in range(0, 4400, 7):
        inside = [(b - a, -i, c) for i, (a, b, c) in enumerate(kept) if a <= number <= b]
        expected = min(inside)[2] if inside else None
        assert source.place_of(IPv4Address(base + number)).country == expected


@given(
    st.lists(st.integers(0, 2**32 - 1), max_size=30, unique=True),
    st.lists(st.integers(0, 2**32 - 1), max_size=10),
)
def test_a_search_by_pages_finds_what_a_whole_one_finds(starts: list[int], also: list[int]) -> None:
    ranges = Ranges(sorted(starts), list(range(1, len(starts) + 1)))
    paged = Indexed(ranges, 32)
    edges = [n + by for n in starts for by in (-1, 0, 1)] + [0, 2**32 - 1]
    for number in [n for n in (*also, *edges) if 0 <= n < 2**32]:
        assert paged.find(number) == ranges.find(number)


@pytest.mark.parametrize(("text", "asn", "network_class"), WELL_KNOWN)
def test_well_known_addresses(text: str, asn: int, network_class: str | None) -> None:
    found = bundled_geo().place_of(ip_address(text))
    assert found.asn == asn
    assert found.country is not None
    assert network_class in (None, found.network_class)


@pytest.mark.parametrize(
    "text",
    [
        *("10.1.2.3", "127.0.0.1", "100.64.1.1", "169.254.1.1", "172.20.0.1", "192.168.1.1"),
        *("192.0.2.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "255.255.255.255", "0.0.0.0"),
        *("::1", "fe80::1", "fc00::1", "2001:db8::1", "2002:808:808::1", "64:ff9b::808:808"),
        *("2001::1", "ff02::1", "::ffff:8.8.8.8"),
    ],
)
def test_what_is_not_global_is_nowhere(text: str) -> None:
    assert bundled_geo().place_of(ip_address(text)) == NOWHERE


@given(st.integers(0, 2**32 - 1))
def test_special_addresses_are_those_of_the_standard_library(number: int) -> None:
    address = IPv4Address(number)
    ours = is_global(address)
    if ours:
        assert not any((address.is_private, address.is_multicast, address.is_reserved))
    elif address.is_global and not address.is_multicast:
        assert any(
            address in IPv4Network(text)
            for text in ("192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",
                         "192.0.0.0/24")
        )  # fmt: skip


@needs_maxmind
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("GeoIP2-Country-Test", "2.125.160.216", Place("GB", None, None)),
        ("GeoLite2-Country-Test", "81.2.69.142", Place("GB", None, None)),
        ("GeoLite2-City-Test", "89.160.20.112", Place("SE", None, None)),
        ("GeoLite2-ASN-Test", "1.128.0.0", Place(None, 1221, None)),
        ("GeoLite2-ASN-Test", "2600:6000::1", Place(None, 237, None)),
        ("GeoIP2-ISP-Test", "1.128.0.0", Place(None, 1221, None)),
        ("GeoIP2-Anonymous-IP-Test", "1.2.0.0", Place(None, None, "vpn")),
        ("GeoIP2-Anonymous-IP-Test", "71.160.223.1", Place(None, None, "hosting")),
        ("GeoIP2-Anonymous-IP-Test", "65.4.3.2", Place(None, None, "tor")),
    ],
)
def test_maxmind_test_files(name: str, text: str, expected: Place) -> None:
    assert MmdbGeo(SHARED / f"{name}.mmdb").place_of(ip_address(text)) == expected


@needs_maxmind
def test_files_complete_each_other() -> None:
    files = [SHARED / "GeoLite2-Country-Test.mmdb", SHARED / "GeoLite2-ASN-Test.mmdb"]
    holder = GeoHolder(geo_paths(files, bundled=True))
    found = holder.place_of(ip_address("1.128.0.0"))
    assert found.asn == 1221
    assert found.country == "AU", "the bundled file says what the others do not"
    assert holder.age_s() is not None


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"country_code": "de"}, Place("DE", None, None)),
        ({"country": {"iso_code": "FR"}, "asn": "AS64500"}, Place("FR", 64500, None)),
        (
            {"autonomous_system_number": 5, "network_class": "education"},
            Place(None, 5, "education"),
        ),
        ({"traits": {"user_type": "college"}}, Place(None, None, "education")),
        ({"country_code": 49, "asn": True, "network_class": "evil"}, NOWHERE),
        ({"country_code": "DEU", "asn": "AS", "country": "FR"}, NOWHERE),
        ({"asn": 2**40, "is_tor_exit_node": "yes"}, NOWHERE),
    ],
)
def test_what_a_record_says(record: dict[str, object], expected: Place) -> None:
    assert place_in(record) == expected


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "other"])
@pytest.mark.parametrize("kind", ["compact", "mmdb"])
def test_a_bad_file_is_refused_by_name(tmp_path: Path, damage: str, kind: str) -> None:
    path = tmp_path / "bad.mmdb"
    if kind == "mmdb" and not SHARED.is_dir():
        pytest.skip("missing: MaxMind's test databases")
    whole = small(tmp_path).read_bytes() if kind == "compact" else (
        SHARED / "GeoLite2-Country-Test.mmdb").read_bytes()  # fmt: skip
    middle = len(whole) // 2
    raw = {
        "empty": b"",
        "cut": whole[:middle],
        "flipped": whole[:middle] + bytes(255 - b for b in whole[middle : middle + 9])
        + whole[middle + 9 :],
        "other": b"not a database at all" * 10,
    }.get(damage)  # fmt: skip
    if raw is not None:
        path.write_bytes(raw)
    if kind == "mmdb" and damage == "flipped":
        return  # a record in the middle: only its own lookups say nothing
    with pytest.raises(UsageError, match=r"bad\.mmdb"):
        open_file(path)


def test_a_changed_file_is_taken_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    path = small(tmp_path)
    holder = GeoHolder((path,))
    assert holder.reload_if_changed() == "unchanged"
    small(tmp_path, network="20.9.0.0/16")
    os.utime(path, (1, 1))
    assert holder.reload_if_changed() == "ok"
    assert holder.place_of(ip_address("20.9.0.1")).country == "DE"
    path.write_bytes(path.read_bytes()[:40])
    assert holder.reload_if_changed() == "failed"
    assert holder.reload_if_changed() == "unchanged", "a bad version is told of once"
    path.unlink()
    assert holder.reload_if_changed() == "failed"
    assert holder.place_of(ip_address("20.9.0.1")).country == "DE"
    small(tmp_path, network="20.8.0.0/16")
    assert holder.reload_if_changed() == "ok"
    assert holder.place_of(ip_address("20.8.0.1")).country == "DE"


def test_a_header_that_lies_is_found(tmp_path: Path) -> None:
    path = small(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[10:14] = struct.pack("<I", 2**31)
    path.write_bytes(bytes(raw))
    with pytest.raises(UsageError, match="damaged"):
        read_compact(path)


def test_the_bundled_file_is_small_and_says_whose_it_is() -> None:
    assert BUNDLED.stat().st_size < 3 * 2**20
    header = read_compact(BUNDLED).header
    assert "db-ip.com" in header.attribution
    assert header.data_date == "2026-06"


def test_a_mapped_address_is_looked_up_as_ipv4_by_whoever_maps_it() -> None:
    mapped = IPv6Address("::ffff:8.8.8.8").ipv4_mapped
    assert mapped is not None
    assert bundled_geo().place_of(mapped).asn == 15169


def lists_only(folder: Path, *, whole: tuple[str, ...] = ()) -> Path:
    """A fresh list of VPN exits and nothing else, newer than what `small` says."""
    tables, start = Tables(), int(IPv4Address("20.1.1.0"))
    tables.classes[0].append((start, start + 127, "vpn"))
    path = folder / "fresh.geo"
    build(
        *(tables, path),
        made="2026-11-25",
        data_date="2026-11",
        attribution="",
        lists={"vpn": "2026-11-20"},
        whole=whole,
    )
    return path


def test_a_fresh_list_goes_before_what_is_older_and_leaves_the_rest_to_it(tmp_path: Path) -> None:
    holder = GeoHolder((lists_only(tmp_path), small(tmp_path)))
    assert holder.place_of(ip_address("20.1.1.5")) == Place("DE", 64500, "vpn")
    assert holder.place_of(ip_address("20.1.1.200")) == Place("DE", 64500, "hosting")
    assert holder.place_of(ip_address("20.1.0.9")) == Place("DE", 64500, "eyeball")
    fresh, older = (holder.current.files[n].lists for n in (0, 1))
    assert (set(fresh), set(older)) == ({"vpn"}, {"hosting"})
    assert holder.current.list_dates()["vpn"] - holder.current.list_dates()["hosting"] > 150 * 86400


def test_whom_a_whole_list_no_longer_names_is_none_of_them(tmp_path: Path) -> None:
    older = Tables()
    start = int(IPv4Address("20.1.1.0"))
    older.asns[0].append((start, start + 255, 64500))
    older.classes[0].append((start, start + 255, "vpn"))
    path = tmp_path / "older.geo"
    build(older, path, made="2026-06-25", data_date="2026-06", attribution="")
    for whole, left in (((), "vpn"), (("vpn",), None)):
        holder = GeoHolder((lists_only(tmp_path, whole=whole), path))
        assert holder.place_of(ip_address("20.1.1.5")).network_class == "vpn"
        assert holder.place_of(ip_address("20.1.1.200")).network_class == left


@needs_maxmind
def test_a_file_of_anonymity_data_has_lists() -> None:
    found = open_file(SHARED / "GeoIP2-Anonymous-IP-Test.mmdb")
    assert set(found.lists) == {"hosting", "vpn", "tor"}
    assert not open_file(SHARED / "GeoLite2-ASN-Test.mmdb").lists


def write_mmdb(path: Path, network: str, country: str) -> Path:
    """A MaxMind-format file of one network, of its own IP version alone (MaxMind DB format 2.0)."""
    block = ip_network(network)
    width = 32 if block.version == 4 else 128
    bits = f"{int(block[0]):0{width}b}"[: block.prefixlen]
    count = len(bits)
    tree = bytearray()
    for number, bit in enumerate(bits, 1):
        onward = number if number < count else count + 16  # the last one points at the record
        sides = (onward, count) if bit == "0" else (count, onward)
        tree += b"".join(side.to_bytes(3, "big") for side in sides)
    about = {
        "binary_format_major_version": b"\xa1\x02",  # a type and a length, then the number
        "binary_format_minor_version": b"\xa1\x00",
        "build_epoch": b"\x08\x02" + (1_790_000_000).to_bytes(8, "big"),
        "database_type": _text("Test"),
        "description": b"\xe0",
        "ip_version": bytes([0xA1, block.version]),
        "languages": b"\x00\x04",
        "node_count": b"\xc4" + count.to_bytes(4, "big"),
        "record_size": b"\xa1\x18",
    }
    told = bytes([7 << 5 | len(about)]) + b"".join(_text(n) + v for n, v in about.items())
    record = b"\xe1" + _text("country_code") + _text(country)
    path.write_bytes(bytes(tree) + bytes(16) + record + b"\xab\xcd\xefMaxMind.com" + told)
    return path


def _text(value: str) -> bytes:
    return bytes([2 << 5 | len(value)]) + value.encode()


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [("2a00::/16", "2a00::1", "20.1.0.9"), ("20.1.0.0/16", "20.1.0.9", "2a00::1")],
)
def test_a_file_of_one_ip_version_says_nothing_of_the_other(
    tmp_path: Path, network: str, inside: str, outside: str
) -> None:
    source = open_file(write_mmdb(tmp_path / "one.mmdb", network, "DE")).source
    assert source.place_of(ip_address(inside)) == Place("DE", None, None)
    assert source.place_of(ip_address(outside)) == NOWHERE


@pytest.mark.parametrize("kind", ["mmdb", "compact"])
def test_a_file_that_is_written_over_while_it_is_read_kills_nobody(
    tmp_path: Path, kind: str
) -> None:
    """`cp new old` cuts the old file to nothing before it writes; a mapped one would end the
    process at its next lookup."""
    path = tmp_path / "data.mmdb"
    if kind == "mmdb":
        write_mmdb(path, "20.1.0.0/16", "DE")
    else:
        small(tmp_path, path.name)
    holder = GeoHolder((path,))
    os.truncate(path, 0)
    assert holder.reload_if_changed() == "failed"
    assert holder.place_of(ip_address("20.1.0.9")).country == "DE"
    write_mmdb(path, "20.1.0.0/16", "FR")
    assert holder.reload_if_changed() == "ok"
    assert holder.place_of(ip_address("20.1.0.9")).country == "FR"


def test_lookups_go_on_while_files_of_other_editions_take_its_place(tmp_path: Path) -> None:
    """Three threads look up, a fourth replaces: every answer is of one file or of the other."""
    path = write_mmdb(tmp_path / "data.mmdb", "20.1.0.0/16", "DE")
    holder, address = GeoHolder((path,)), ip_address("20.1.0.9")
    seen: set[str | None] = set()
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            seen.add(holder.place_of(address).country)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    outcomes = []
    for number in range(20):
        other = tmp_path / f"next-{number}"
        if number % 3 == 0:
            small(tmp_path, other.name, "20.9.0.0/16")  # another format, and without the network
        else:
            write_mmdb(other, "20.1.0.0/16", "DE" if number % 3 == 1 else "FR")
        other.replace(path)
        outcomes.append(holder.reload_if_changed())
    is_over.set()
    for thread in threads:
        thread.join()
    assert set(outcomes) == {"ok"}
    assert seen <= {"DE", "FR", None}


def test_without_room_for_the_copy_it_says_so_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_mmdb(tmp_path / "data.mmdb", "20.1.0.0/16", "DE")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no such folder"))
    with pytest.raises(UsageError, match=r"data\.mmdb: cannot be copied .* TMPDIR"):
        open_file(path)
