"""Several files as one source, and their exchange while serving.

Fields come from the first file that knows them, so that an operator's own file wins over the
bundled one and a country file goes with an ASN file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from pathlib import Path

from ...errors import UsageError
from ...model import NETWORK_CLASSES, NOWHERE, Place
from ...ports import GeoSource
from .compact import MAGIC, CompactGeo, read_compact
from .mmdb import MmdbGeo

log = logging.getLogger("hydragate.geo")

BUNDLED = Path(str(resources.files(__package__ or "") / "places.geo"))
MAX_FILES = 8
LISTED = frozenset(NETWORK_CLASSES) - {"eyeball"}
"""What is known by lists alone; `eyeball` is what no list names."""
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class GeoFile:
    """One open file: where it lies, what it says, how old its data are. `lists`: of when its list
    of each network class is; `whole`: the classes of which files behind it are not asked."""

    path: Path
    source: GeoSource
    built_s: int
    stamp: tuple[int, int, int]
    attribution: str = ""
    lists: Mapping[str, int] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()


class LayeredGeo:
    """Looks into each file until every field is known."""

    edition = 0

    def __init__(self, files: Sequence[GeoFile]) -> None:
        self.files = tuple(files)
        self._first = files[0].source if files else None
        settled: frozenset[str] = frozenset()
        others = []
        for before, file in pairwise(files):
            settled |= before.whole
            others.append((file.source, settled))
        self._others = tuple(others)

    def place_of(self, address: IPv4Address | IPv6Address) -> Place:
        if self._first is None:
            return NOWHERE
        place = self._first.place_of(address)
        for other, settled in self._others:
            country, asn, network_class = place.country, place.asn, place.network_class
            if country is not None and asn is not None and network_class is not None:
                break
            more = other.place_of(address)
            place = Place(
                more.country if country is None else country,
                more.asn if asn is None else asn,
                network_class or (None if more.network_class in settled else more.network_class),
            )
        return place

    def list_dates(self) -> dict[str, int]:
        """Of when the newest list of each class is, in seconds; what is missing nobody tells."""
        found: dict[str, int] = {}
        for file in self.files:
            for name, at_s in file.lists.items():
                found[name] = max(at_s, found.get(name, 0))
        return found


def open_file(path: Path) -> GeoFile:
    """Raises UsageError that names the file and what is wrong with it."""
    stamp = _stamp(path)
    if _is_compact(path):
        compact: CompactGeo = read_compact(path)
        header = compact.header
        return GeoFile(
            path,
            compact,
            _instant_s(header.data_date),
            stamp,
            header.attribution,
            {
                name: _instant_s(header.lists.get(name, header.data_date))
                for name in compact.classes() & LISTED
            },
            frozenset(header.whole),
        )
    mmdb = MmdbGeo(path)
    return GeoFile(
        path, mmdb, mmdb.built_s, stamp, lists=dict.fromkeys(mmdb.classes(), mmdb.built_s)
    )


def _is_compact(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def _instant_s(date: str) -> int:
    """Of an ISO date or month; 0 where it is none."""
    try:
        padded = date if len(date) > 7 else f"{date}-01"
        return int(datetime.fromisoformat(padded).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@dataclass(slots=True)
class GeoHolder:
    """The address data in force; files that change are opened anew, and one that is bad changes
    nothing. There is no thread inside: whoever serves polls.

    Building one raises UsageError. An `mmdb` that was replaced is left to the garbage collector,
    since a lookup may be under way in it.
    """

    paths: tuple[Path, ...]
    current: LayeredGeo = field(init=False)
    edition: int = field(init=False, default=0)
    problems: list[str] = field(init=False, default_factory=list)
    is_refusing: bool = field(init=False, default=False)  # at the last look a file was bad
    _refused: dict[Path, tuple[int, int, int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.current = LayeredGeo([open_file(path) for path in self.paths])

    def place_of(self, address: IPv4Address | IPv6Address) -> Place:
        return self.current.place_of(address)

    def reload_if_changed(self) -> str:
        """`unchanged`, `ok` or `failed`. Never raises; the old file stays where the new is bad."""
        files, outcome = [], "unchanged"
        self.problems, is_refusing = [], False
        for file in self.current.files:
            try:
                stamp = _stamp(file.path)
                if stamp in (file.stamp, self._refused.get(file.path)):
                    is_refusing |= stamp != file.stamp
                    files.append(file)
                    continue
                files.append(open_file(file.path))
                outcome = "ok" if outcome == "unchanged" else outcome
            except UsageError as error:
                outcome, is_refusing = self._refuse(file, error, outcome), True
                files.append(file)
        self.is_refusing = is_refusing
        if outcome != "unchanged":
            self.current = LayeredGeo(files)
            self.edition += 1  # afterwards: nobody may keep an old answer under the new number
        return outcome

    def _refuse(self, file: GeoFile, error: UsageError, outcome: str) -> str:
        """Once for each bad version of a file; one that is missing is met again at every poll."""
        self.problems.append(str(error))
        try:
            stamp = _stamp(file.path)
        except UsageError:
            stamp = (0, 0, 0)
        if self._refused.get(file.path) == stamp:
            return outcome
        self._refused[file.path] = stamp
        log.error("the old address data stay in force: %s", error)
        return "failed"

    def identity(self) -> list[list[int]]:
        """What must be the same for two replays to agree: size and age of each file's data."""
        return [[file.stamp[1], file.built_s] for file in self.current.files]

    def age_s(self, now_s: float | None = None) -> float | None:
        """Of the oldest file's data; None without any."""
        if not self.current.files:
            return None
        now = time.time() if now_s is None else now_s
        return max(0.0, now - min(file.built_s for file in self.current.files))

    def warn_if_old(self, days: float) -> None:
        for file in self.current.files:
            age_days = (time.time() - file.built_s) / DAY_S
            if age_days > days:
                log.warning(
                    "address data %s are %d days old, and addresses move: name newer files in "
                    "geo.files (any MaxMind format), or build one (hydragate geo build)",
                    file.path.name,
                    age_days,
                )


def geo_paths(files: Sequence[Path], *, bundled: bool) -> tuple[Path, ...]:
    """The operator's files, then the one that comes with the package where it is there."""
    return (*files, BUNDLED) if bundled and BUNDLED.exists() else tuple(files)
