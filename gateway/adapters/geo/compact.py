"""Address data in a small file: country, ASN and network class of every announced range.

    b"hydrageo1\n"  magic
    u32             length of the header
    header          JSON: made, data_date, attribution, counts
    zstandard       of: places, then for IPv4 and for IPv6: starts, place numbers

All numbers little-endian. A place is 7 bytes: country (2 ASCII letters or 2 NULs), ASN (u32, 0:
none), class (u8, 0: none, else 1 + its position in `NETWORK_CLASSES`). Starts are the first
address of each range (IPv6: its upper 64 bits), each as the difference to the one before, u32 or
u64; a range ends where the next begins. Place numbers are u32; place 0 is nowhere. A lookup is one
binary search.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from itertools import accumulate
from pathlib import Path

import msgspec
import zstandard

from ...errors import UsageError
from ...model import NETWORK_CLASSES, NOWHERE, Place
from .special import is_global

MAGIC = b"hydrageo1\n"
MAX_HEADER_BYTES = 65_536
MAX_BODY_BYTES = 256 * 1024 * 1024
MAX_KEPT_PLACES = 65_536
PAGE_BITS = 16
_PLACE = struct.Struct("<2sIB")
_LENGTH = struct.Struct("<I")


class Header(msgspec.Struct, frozen=True):
    """`data_date` is that of the oldest source, ISO 8601; what is shown with results must carry
    `attribution`. `lists`: the date of each list of a class, where it is not `data_date`; `whole`:
    classes of which no other file shall say anything."""

    made: str
    data_date: str
    attribution: str
    places: int
    four: int
    six: int
    lists: dict[str, str] = {}
    whole: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranges:
    """`starts` ascending; `places[i]` is the number of the place from `starts[i]` on."""

    starts: Sequence[int]
    places: Sequence[int]

    def find(self, number: int) -> int:
        at = bisect_right(self.starts, number)
        return 0 if at == 0 else self.places[at - 1]


class Indexed:
    """`Ranges` with the number of starts before each of its pages, an equal share of the numbers
    each: a search that stays inside one page touches 3 or 4 numbers and not 19, each of which is
    likely to be far from what the processor has at hand."""

    __slots__ = ("_index", "_last", "_places", "_shift", "_starts")

    def __init__(self, ranges: Ranges, bits: int) -> None:
        """`bits` of the numbers, of which the upper ones name the page."""
        self._starts, self._places = ranges.starts, ranges.places
        self._shift = bits - PAGE_BITS
        self._last = self._starts[-1] >> self._shift if self._starts else 0
        pages = range(self._last + 2)
        self._index = array("I", [bisect_left(self._starts, n << self._shift) for n in pages])

    def find(self, number: int) -> int:
        page = number >> self._shift
        if page > self._last:
            page = self._last
        index = self._index
        at = bisect_right(self._starts, number, index[page], index[page + 1])
        return self._places[at - 1] if at else 0


class CompactGeo:
    """A loaded file; about 10 bytes a range in memory, shared by nobody."""

    def __init__(self, header: Header, places: bytes, four: Ranges, six: Ranges) -> None:
        self.header = header
        self._places = places
        self._four = Indexed(four, 32)
        self._six = Indexed(six, 64)
        self._place = lru_cache(MAX_KEPT_PLACES)(self._read_place)

    def place_of(self, address: IPv4Address | IPv6Address) -> Place:
        if not is_global(address):
            return NOWHERE
        if address.version == 4:
            return self._place(self._four.find(int(address)))
        return self._place(self._six.find(int(address) >> 64))

    def classes(self) -> frozenset[str]:
        """All that it says of any network."""
        numbers = set(self._places[_PLACE.size - 1 :: _PLACE.size]) - {0}
        return frozenset([NETWORK_CLASSES[number - 1] for number in numbers])

    def _read_place(self, number: int) -> Place:
        country, asn, network_class = _PLACE.unpack_from(self._places, number * _PLACE.size)
        return Place(
            country.decode() if country[0] else None,
            asn or None,
            NETWORK_CLASSES[network_class - 1] if network_class else None,
        )


def pack_place(place: Place) -> bytes:
    number = 0 if place.network_class is None else 1 + NETWORK_CLASSES.index(place.network_class)
    return _PLACE.pack((place.country or "\0\0").encode(), place.asn or 0, number)


def write_compact(
    path: Path, header: Header, places: Sequence[bytes], four: Ranges, six: Ranges
) -> None:
    body = b"".join(
        (
            b"".join(places),
            *(_deltas("I", four.starts), array("I", four.places).tobytes()),
            *(_deltas("Q", six.starts), array("I", six.places).tobytes()),
        )
    )
    told = msgspec.json.encode(header)
    packed = zstandard.ZstdCompressor(level=19, write_checksum=True).compress(body)
    path.write_bytes(MAGIC + _LENGTH.pack(len(told)) + told + packed)


def _deltas(code: str, starts: Sequence[int]) -> bytes:
    return array(code, [b - a for a, b in zip((0, *starts), starts, strict=False)]).tobytes()


def read_compact(path: Path) -> CompactGeo:
    """Raises UsageError that names the file and what is wrong with it."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if not raw.startswith(MAGIC):
        raise UsageError(f"{path}: is no address data of hydragate (hydragate geo build makes it)")
    try:
        return _read(raw)
    except (ValueError, struct.error, zstandard.ZstdError, msgspec.MsgspecError) as error:
        raise UsageError(f"{path}: is cut off or damaged ({error}); build it again") from None


def _read(raw: bytes) -> CompactGeo:
    (length,) = _LENGTH.unpack_from(raw, len(MAGIC))
    begin = len(MAGIC) + _LENGTH.size
    if length > MAX_HEADER_BYTES:
        raise ValueError("its header is too long")
    header = msgspec.json.decode(raw[begin : begin + length], type=Header)
    body = zstandard.ZstdDecompressor().decompress(
        raw[begin + length :], max_output_size=MAX_BODY_BYTES
    )
    sizes = [header.places * _PLACE.size, *(header.four * 4,) * 2, header.six * 8, header.six * 4]
    if sum(sizes) != len(body) or min(sizes) < 0:
        raise ValueError("its parts do not add up")
    parts, at = [], 0
    for size in sizes:
        parts.append(body[at : at + size])
        at += size
    places, four_starts, four_places, six_starts, six_places = parts
    return CompactGeo(
        header,
        places,
        _ranges("I", four_starts, four_places, header.places),
        _ranges("Q", six_starts, six_places, header.places),
    )


def _ranges(code: str, starts: bytes, places: bytes, count: int) -> Ranges:
    numbers = array("I", places)
    if numbers and max(numbers) >= count:
        raise ValueError("it names a place that it does not have")
    return Ranges(array(code, accumulate(array(code, starts))), numbers)
