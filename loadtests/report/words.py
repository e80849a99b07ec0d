"""How numbers are written on the page."""

from __future__ import annotations

from .findings import Share


def percent(value: float | None) -> str:
    """Three significant digits, and never 100 % for what is not all; a dash for None."""
    if value is None:
        return "–"
    if 0.9995 <= value < 1:
        return "> 99.9%"
    if 0 < value < 1e-6:
        return "< 0.0001%"
    return f"{value * 100:.3g}%"


def count(value: int) -> str:
    """With thin spaces between thousands, which read alike in all languages."""
    return f"{value:,}".replace(",", "\u202f")


def span(seconds: int) -> str:
    """A length of time in the largest unit that leaves it whole."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def share_text(share: Share) -> str:
    """A share with its interval."""
    if share.share is None or share.bounds is None:
        return percent(share.share)
    low, high = percent(share.bounds.low), percent(share.bounds.high)
    return f"{percent(share.share)} ({low} to {high})"
