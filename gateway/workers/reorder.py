"""A bounded window that puts lines which came a little late back into their place.

Law: what comes out is in order of time as far as the window reaches, and equal instants keep the
order of their lines, so that the same log always comes out the same way.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

MAX_HELD = 65_536
T = TypeVar("T")


class ReorderWindow(Generic[T]):
    """Holds items until one that is `window_us` later has been seen; 0 holds nothing.

    At most `MAX_HELD` are held; beyond that the earliest goes early.
    """

    def __init__(self, window_us: int, most: int = MAX_HELD) -> None:
        self._window_us = window_us
        self._most = most
        self._latest_us = 0
        self._held: list[tuple[int, int, T]] = []

    def add(self, ts_us: int, number: int, item: T) -> Iterator[T]:
        """What may go now that this one has come; `number` tells equal instants apart."""
        heapq.heappush(self._held, (ts_us, number, item))
        self._latest_us = max(self._latest_us, ts_us)
        due_us = self._latest_us - self._window_us
        while self._held and (self._held[0][0] <= due_us or len(self._held) > self._most):
            yield heapq.heappop(self._held)[2]

    def hold(self, ts_us: int, number: int, item: T) -> None:
        """Hold without giving anything out: when a checkpoint is read."""
        heapq.heappush(self._held, (ts_us, number, item))
        self._latest_us = max(self._latest_us, ts_us)

    def drain(self) -> Iterator[T]:
        """Everything that is still held, at the end."""
        while self._held:
            yield heapq.heappop(self._held)[2]

    def held(self) -> list[T]:
        """For a checkpoint."""
        return [item for _, _, item in sorted(self._held, key=lambda entry: entry[:2])]
