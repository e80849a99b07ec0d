"""The memory store's contents as bytes, so that a long replay can be interrupted."""

from __future__ import annotations

import msgspec

from ..model import Subject


class KeptCounters(msgspec.Struct, array_like=True):
    """`limit` is None for the counters of a tag, else whose leases these are."""

    tag: str
    limit: str | None
    is_shadow: bool
    expires_us: int
    fields: dict[str, int]


class MemoryState(msgspec.Struct):
    """`owners`: credential → account and key id."""

    subjects: list[Subject]
    keys: dict[str, dict[str, str]]
    owners: dict[str, tuple[str, str | None]]
    counters: list[KeptCounters]
    charges: int
    shadow_all: bool
    windows: dict[str, bytes]
    lapses_us: dict[str, int] = {}
