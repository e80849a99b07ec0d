"""Any MaxMind-format file, through the C reader, memory-mapped.

What is mapped is a copy that nobody else can reach: a process that reads a mapped file which
somebody cuts short, as `cp` and `curl -o` do before they write, is killed by the system.

Fields are read in both layouts in common use: `country_code` or `country.iso_code`;
`autonomous_system_number`, `asn` as a number or "AS64500"; the class from `network_class`, from the
flags of anonymity data (`is_tor_exit_node`, `is_anonymous_vpn`, `is_public_proxy`,
`is_residential_proxy`, `is_hosting_provider`), or from `user_type`. What a file does not say is
None.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import maxminddb

from ...errors import UsageError
from ...model import NETWORK_CLASSES, NOWHERE, Place
from .special import is_global

_FLAGS = (
    ("is_tor_exit_node", "tor"),
    ("is_anonymous_vpn", "vpn"),
    ("is_public_proxy", "vpn"),
    ("is_residential_proxy", "vpn"),
    ("is_hosting_provider", "hosting"),
)
_USER_TYPES = {
    **dict.fromkeys(("college", "school", "library"), "education"),
    **dict.fromkeys(("hosting", "content_delivery_network"), "hosting"),
    **dict.fromkeys(("residential", "cellular", "business", "dialup", "cafe"), "eyeball"),
}
MAX_ASN = 2**32 - 1
COPIED_BYTES = 1 << 20
ANONYMITY_CLASSES = frozenset({"hosting", "vpn", "tor"})


class MmdbGeo:
    """One open file. Close it when nobody looks anything up any more."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError that names the file and what is wrong with it."""
        self.path = path
        try:
            self._reader = _opened_copy(path)
            self._check(path.stat().st_size)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
        except (maxminddb.InvalidDatabaseError, ValueError) as error:
            raise UsageError(f"{path}: is no sound MaxMind database: {error}") from None
        self.built_s = int(self._reader.metadata().build_epoch)
        self._takes_six = self._reader.metadata().ip_version == 6

    def place_of(self, address: IPv4Address | IPv6Address) -> Place:
        if not is_global(address) or (address.version == 6 and not self._takes_six):
            return NOWHERE
        try:
            found = self._reader.get(address)
        except maxminddb.InvalidDatabaseError:  # one damaged record; the file was sound at start
            return NOWHERE
        return place_in(found) if isinstance(found, dict) else NOWHERE

    def classes(self) -> frozenset[str]:
        """Those that a file of its type is made to tell of."""
        is_anonymity = "anonymous" in self._reader.metadata().database_type.lower()
        return ANONYMITY_CLASSES if is_anonymity else frozenset()

    def close(self) -> None:
        self._reader.close()

    def _check(self, size_bytes: int) -> None:
        """A file that was cut off is mostly found by a few lookups and its metadata."""
        metadata = self._reader.metadata()
        if metadata.ip_version not in (4, 6):
            raise ValueError("its metadata name no IP version")
        least = metadata.node_count * metadata.record_size // 4
        if size_bytes < least:
            raise ValueError("it is cut off")
        for first in range(1, 224, 3):
            self._reader.get(IPv4Address(first << 24 | 0x010101))


def _copy(path: Path, to: Path) -> None:
    with path.open("rb") as source, to.open("wb") as target:
        try:
            shutil.copyfileobj(source, target, COPIED_BYTES)
            target.flush()
        except OSError as error:
            raise _no_room(path, error) from None


def _no_room(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path}: cannot be copied to where temporary files are ({error.strerror}): make room "
        "there, or name another folder in TMPDIR"
    )


def _opened_copy(path: Path) -> maxminddb.Reader:
    """Takes as much room as the file where temporary files are, until it is closed."""
    try:
        file = tempfile.NamedTemporaryFile(prefix="hydragate-geo-")  # noqa: SIM115  closed below
    except OSError as error:
        raise _no_room(path, error) from None
    with file as copy:
        _copy(path, Path(copy.name))
        try:
            return maxminddb.open_database(copy.name, maxminddb.MODE_MMAP_EXT)
        except maxminddb.InvalidDatabaseError:  # its text names the copy
            raise ValueError("it does not end as one does, or is cut off") from None


def place_in(found: Mapping[str, Any]) -> Place:
    """What one record says; a value of the wrong type says nothing."""
    country = found.get("country_code")
    if country is None and isinstance(nested := found.get("country"), dict):
        country = nested.get("iso_code")
    if not isinstance(country, str) or len(country) != 2 or not country.isalpha():
        country = None
    return Place(country and country.upper(), _asn(found), _class(found))


def _asn(found: Mapping[str, Any]) -> int | None:
    value = found.get("autonomous_system_number", found.get("asn"))
    if isinstance(value, str):
        digits = value.upper().removeprefix("AS")
        value = int(digits) if digits.isdecimal() and len(digits) <= 10 else None
    is_asn = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_ASN
    return value if is_asn else None


def _class(found: Mapping[str, Any]) -> str | None:
    said = found.get("network_class")
    if said in NETWORK_CLASSES:
        return str(said)
    traits = found.get("traits")
    layers = (found, traits) if isinstance(traits, dict) else (found,)
    for layer in layers:
        for flag, network_class in _FLAGS:
            if layer.get(flag) is True:
                return network_class
        user_type = layer.get("user_type")
        if isinstance(user_type, str) and user_type in _USER_TYPES:
            return _USER_TYPES[user_type]
    return None
