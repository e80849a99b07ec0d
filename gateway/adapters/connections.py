"""How many clients may be connected to one worker at once, and who gives way when more come.

A connection costs a descriptor and some ten kilobytes, and who opens them needs no key. So beyond
a bound a new one takes the place of those that wait for a request (kept alive, or with a head that
does not end) and whose time is over first. Who is being served is never cut off: where all are,
the new one is refused.

Closing many at once and not looking again at once keep the work for a flood small: a look goes
over all connections, and makes room for a sixty-fourth of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import Protocol

PART = 64
PAUSE_S = 0.1  # after a look that found nobody waiting
DESCRIPTORS_BESIDE = 256  # files of a worker that are no client's: store, logs, listening sockets


class Connected(Protocol):
    def waits_until_s(self) -> float | None:
        """On the loop's clock, when its wait for a request is over; None while it is served, or
        when it is closing."""
        ...

    def give_way(self) -> None:
        """Close without a word. `Connections.left` is called for it as for any other."""
        ...


class Connections:
    """Of one worker: `open` without those that were told to give way, `given_way` and `refused`
    are counts since the start."""

    __slots__ = ("_full_until_s", "given_way", "most", "open", "refused")

    def __init__(self, most: int) -> None:
        """Raises ValueError for a bound below 1."""
        if most < 1:
            raise ValueError("at least one client must be able to connect")
        self.most = most
        self.open = 0
        self.given_way = 0
        self.refused = 0
        self._full_until_s = 0.0

    def admit(self, others: Iterable[Connected], now_s: float) -> bool:
        """Count a new connection; False where there is no place for it, and it does not count.
        `others` are all that are open; they are looked at only beyond the bound."""
        if self.open >= self.most and not self._make_room(others, now_s):
            self.refused += 1
            return False
        self.open += 1
        return True

    def left(self) -> None:
        """One that was admitted is gone, or going."""
        self.open -= 1

    def _make_room(self, others: Iterable[Connected], now_s: float) -> bool:
        if now_s < self._full_until_s:
            return False
        waiting = [(end, one) for one in others if (end := one.waits_until_s()) is not None]
        if not waiting:
            self._full_until_s = now_s + PAUSE_S
            return False
        for _, one in nsmallest(max(1, self.most // PART), waiting, key=lambda pair: pair[0]):
            self.given_way += 1
            one.give_way()
        return True


def bound_of(wanted: int, descriptors: int | None) -> int:
    """`wanted` connections, or what `descriptors` files allow, where each may need one more for
    the model API and up to a quarter is for all else. None: there is no limit. At least 1."""
    if descriptors is None:
        return wanted
    beside = min(DESCRIPTORS_BESIDE, descriptors // 4)
    return max(1, min(wanted, (descriptors - beside) // 2))
