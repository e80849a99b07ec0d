"""Which step is asked for, and which settles it."""

from __future__ import annotations

from collections.abc import Iterable

from ..model import Level, Subject


def held_level(subject: Subject, now_us: int) -> Level:
    """The highest level that was passed and has not expired."""
    live = [g.level for g in subject.grants if g.expires_us is None or g.expires_us > now_us]
    return max(live, default=Level.NONE)


def steps_for(required: Level, held: Level, available: Iterable[Level]) -> tuple[Level, ...]:
    """The steps to offer, the lightest that settles the doubt first: the required one where it is
    available, else those above it. () when nothing is needed, or nothing can be done here."""
    if held >= required:
        return ()
    fitting = sorted({level for level in available if level >= required})
    return (required,) if required in fitting else tuple(fitting)
