"""Decision ids: 26 characters of Crockford's base32, sortable by time, not guessable.

48 bits of milliseconds and 80 random bits, as ULIDs have them, so the id alone tells in which
log file to look.
"""

from __future__ import annotations

import os

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
RANDOM_CHARACTERS = 16
_POOL_IDS = 256
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_OF_BYTE = (ALPHABET * 8).encode()  # 256 is a multiple of 32, so every character is as likely


class DecisionIds:
    """An `IdSource` that buys its randomness in bulk."""

    def __init__(self) -> None:
        self._pool = ""
        self._at = 0
        self._time_ms = -1
        self._time_text = ""

    def new_id(self, now_us: int) -> str:
        time_ms = now_us // 1000
        if time_ms != self._time_ms:
            self._time_ms, self._time_text = time_ms, _encode_time(time_ms)
        at = self._at
        if at >= len(self._pool):
            drawn = os.urandom(RANDOM_CHARACTERS * _POOL_IDS)
            self._pool, at = drawn.translate(_OF_BYTE).decode("ascii"), 0
        self._at = at + RANDOM_CHARACTERS
        return self._time_text + self._pool[at : self._at]


def id_time_us(decision_id: str) -> int | None:
    """When the decision was made, to the millisecond; None for what is no id."""
    if len(decision_id) != LENGTH or any(c not in _VALUES for c in decision_id):
        return None
    time_ms = 0
    for character in decision_id[:10]:
        time_ms = time_ms << 5 | _VALUES[character]
    return time_ms * 1000


def _encode_time(time_ms: int) -> str:
    """The low 48 bits in ten characters."""
    return "".join(ALPHABET[time_ms >> shift & 31] for shift in range(45, -1, -5))
