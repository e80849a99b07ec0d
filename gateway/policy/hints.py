"""Did you mean …? And the words for types, so that messages read alike everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from ..model import Level

LEVEL_NAMES = tuple(level.name.lower() for level in Level)
TYPE_TEXTS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Level: f"a level ({', '.join(LEVEL_NAMES)})",
    tuple: "a list of texts",
}
_MAX_LISTED = 12


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean tier?`, or the choices where they are few, or nothing."""
    choices = sorted(known)
    close = get_close_matches(word[:80], choices, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    if 0 < len(choices) <= _MAX_LISTED:
        return f"; there is {', '.join(choices)}"
    return ""
