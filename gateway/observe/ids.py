"""Decision ids: 26 characters of Crockford's base32, sortable by time, not guessable.

48 bits of milliseconds and 80 random bits, as ULIDs have them, so the id alone tells in which
log file to look.
"""

from __future__ import annotations

import os

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
RANDOM_BYTES = 10
_POOL_IDS = 256
_VALUES = {character: value for value, character in enumerate(ALPHABET)}
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]  # ten bits at a time


class DecisionIds:
    """An `IdSource` that buys its randomness in bulk."""

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0
        self._time_ms = -1
        self._time_text = ""

    def new_id(self, now_us: int) -> str:
        time_ms = now_us // 1000
        if time_ms != self._time_ms:
            self._time_ms, self._time_text = time_ms, _encode(time_ms & (1 << 48) - 1, 5)
        if self._at >= len(self._pool):
            self._pool, self._at = os.urandom(RANDOM_BYTES * _POOL_IDS), 0
        random = int.from_bytes(self._pool[self._at : self._at + RANDOM_BYTES], "big")
        self._at += RANDOM_BYTES
        return self._time_text + _encode(random, 8)


def id_time_us(decision_id: str) -> int | None:
    """When the decision was made, to the millisecond; None for what is no id."""
    if len(decision_id) != LENGTH or any(c not in _VALUES for c in decision_id):
        return None
    time_ms = 0
    for character in decision_id[:10]:
        time_ms = time_ms << 5 | _VALUES[character]
    return time_ms * 1000


def _encode(number: int, pairs: int) -> str:
    parts = []
    for _ in range(pairs):
        parts.append(_PAIRS[number & 1023])
        number >>= 10
    return "".join(reversed(parts))
