"""Which requests repeat what somebody else was refused a moment ago, among those not looked at.

Of a busy account one request in eight is read for evidence, so of eight retries that a pool makes
on other accounts seven would pass unseen. What was asked and refused lately is remembered here by
a checksum, for a fraction of what a keyed hash costs; what repeats a refusal is told to the linker
all the same, which compares the real values (`echo`).

The memory of one process: a retry that comes to another worker, or after a restart, is told as
often as other requests are. What a third account asked within `ALONE_US` is public and not told.
"""

from __future__ import annotations

from typing import Generic, TypeVar
from zlib import crc32

from msgspec import Raw

from .echo import ALONE_US, ECHO_US
from .opening import Members

MAX_KEPT = 32_768  # in each of two generations, of what was asked and of what was refused
END_BYTES = 1_024
LEAST_CONTENT_BYTES = 96
SEVERAL = ""  # nobody's account
T = TypeVar("T")
Generations = tuple[int, dict[int, T], dict[int, T]]
Remembered = tuple[Generations[str], Generations[tuple[str, int]]]


class Retries:
    """What is asked, by `mark_of`."""

    def __init__(self) -> None:
        self._asked = _Lately[str](ALONE_US)
        self._refused = _Lately[tuple[str, int]](ECHO_US)

    def pack(self) -> Remembered:
        return self._asked.pack(), self._refused.pack()

    def restore(self, packed: Remembered) -> None:
        """Become what `packed` was."""
        asked, refused = packed
        self._asked.restore(asked)
        self._refused.restore(refused)

    def refuse(self, account_id: str, mark: int, at_us: int) -> None:
        if mark:
            self._refused.put(mark, (account_id, at_us), at_us)

    def ask(self, account_id: str, mark: int, at_us: int) -> bool:
        """Whether it repeats what one other account was refused just now, and nobody else asks."""
        if not mark:
            return False
        before = self._asked.get(mark, at_us)
        refused = self._refused.get(mark, at_us)
        is_retry = (
            refused is not None
            and refused[0] != account_id
            and 0 <= at_us - refused[1] <= ECHO_US
            and (before is None or before in (account_id, refused[0]))
        )
        is_alone = is_retry or before is None or before == account_id
        self._asked.put(mark, account_id if is_alone else SEVERAL, at_us)
        return is_retry


def content_of(members: Members) -> bytes | memoryview | Raw | None:
    """What is asked, as raw JSON; None for what is so short that many ask it."""
    raw = members.get("messages") or members.get("input") or members.get("prompt")
    return None if raw is None or len(raw) < LEAST_CONTENT_BYTES else raw


def mark_of(members: Members) -> int:
    """A checksum of what is asked, by its length and its last kilobyte; 0 where that is nothing."""
    raw = content_of(members)
    return 0 if raw is None else crc32(memoryview(raw)[-END_BYTES:], len(raw)) or 1


class _Lately(Generic[T]):
    """By mark, what was put within `kept_us`, and some of what was put before."""

    __slots__ = ("_kept_us", "_new", "_old", "_since_us")

    def __init__(self, kept_us: int) -> None:
        self._kept_us = kept_us
        self._since_us = 0
        self._new: dict[int, T] = {}
        self._old: dict[int, T] = {}

    def get(self, mark: int, at_us: int) -> T | None:
        if at_us - self._since_us > self._kept_us:
            self._turn_over(at_us)
        found = self._new.get(mark)
        return self._old.get(mark) if found is None else found

    def put(self, mark: int, what: T, at_us: int) -> None:
        if at_us - self._since_us > self._kept_us or len(self._new) >= MAX_KEPT:
            self._turn_over(at_us)
        self._new[mark] = what

    def pack(self) -> Generations[T]:
        return self._since_us, self._new, self._old

    def restore(self, packed: Generations[T]) -> None:
        self._since_us, self._new, self._old = packed

    def _turn_over(self, at_us: int) -> None:
        is_late = at_us - self._since_us > 2 * self._kept_us
        self._old, self._new = {} if is_late else self._new, {}
        self._since_us = at_us
