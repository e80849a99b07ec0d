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
END_BYTES = 512
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
            self._refused.turn_over(at_us)
            self._refused.new[mark] = account_id, at_us

    def ask(self, account_id: str, mark: int, at_us: int) -> bool:
        """Whether it repeats what one other account was refused just now, and nobody else asks."""
        if not mark:
            return False
        asked = self._asked
        if at_us >= asked.until_us or len(asked.new) >= MAX_KEPT:
            asked.turn_over(at_us)
        before = asked.new.setdefault(mark, account_id)
        refused = self._refused.get(mark)
        if refused is None:  # as nearly always
            if before != account_id:
                asked.new[mark] = SEVERAL
            return False
        refused_id, refused_us = refused
        known = (account_id, refused_id)
        is_retry = (
            refused_id != account_id
            and 0 <= at_us - refused_us <= ECHO_US
            and before in known
            and asked.old.get(mark, account_id) in known
        )
        asked.new[mark] = account_id if is_retry or before == account_id else SEVERAL
        return is_retry


def content_of(members: Members) -> bytes | memoryview | Raw | None:
    """What is asked, as raw JSON; None for what is so short that many ask it."""
    raw = members.get("messages") or members.get("input") or members.get("prompt")
    return None if raw is None or len(raw) < LEAST_CONTENT_BYTES else raw


def mark_of(members: Members) -> int:
    """A checksum of what is asked, by its length and how it ends; 0 where that is nothing."""
    raw = content_of(members)
    return 0 if raw is None else crc32(memoryview(raw)[-END_BYTES:], len(raw)) or 1


class _Lately(Generic[T]):
    """By mark, what was put within `kept_us`, and some of what was put before."""

    __slots__ = ("_kept_us", "new", "old", "until_us")

    def __init__(self, kept_us: int) -> None:
        self._kept_us = kept_us
        self.until_us = 0
        self.new: dict[int, T] = {}
        self.old: dict[int, T] = {}

    def get(self, mark: int) -> T | None:
        found = self.new.get(mark)
        return self.old.get(mark) if found is None else found

    def turn_over(self, at_us: int) -> None:
        """Begin a new generation where the last one is over, or full."""
        if at_us < self.until_us and len(self.new) < MAX_KEPT:
            return
        is_late = at_us >= self.until_us + self._kept_us
        self.old, self.new = {} if is_late else self.new, {}
        self.until_us = at_us + self._kept_us

    def pack(self) -> Generations[T]:
        return self.until_us, self.new, self.old

    def restore(self, packed: Generations[T]) -> None:
        self.until_us, self.new, self.old = packed
