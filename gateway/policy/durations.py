"""Durations as people write them: `30s`, `10m`, `2h`, `7d`."""

from __future__ import annotations

import re

from ..model import SECOND_US

_UNITS_US = {
    "ms": SECOND_US // 1000,
    "s": SECOND_US,
    "m": 60 * SECOND_US,
    "min": 60 * SECOND_US,
    "h": 3600 * SECOND_US,
    "d": 86_400 * SECOND_US,
}
_DURATION = re.compile(r"(\d{1,9})\s?(ms|s|m|min|h|d)")


def parse_duration(text: object) -> int:
    """Microseconds. Raises ValueError that says how durations are written."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("must be a duration such as 30s, 10m, 2h or 7d")
    return int(match[1]) * _UNITS_US[match[2]]
