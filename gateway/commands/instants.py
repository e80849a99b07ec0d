"""Instants as operators write them: so long ago, or a date with its time zone."""

from __future__ import annotations

import re
from datetime import datetime

from ..errors import UsageError

_AGO = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def instant_us(option: str, text: str, now_s: float) -> int:
    """Microseconds of an instant, or of so long before `now_s`; `option` stands in messages.

    Raises UsageError.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return int((now_s - int(ago[1]) * _SECONDS[ago[2]]) * 1e6)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{option}: '{text}' is neither 30m, 6h, 2d nor an instant") from None
    if at.tzinfo is None:
        raise UsageError(f"{option}: '{text}' names no time zone; end it with Z for UTC")
    return int(at.timestamp() * 1e6)
