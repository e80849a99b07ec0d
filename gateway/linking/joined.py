"""Sets that grow together, by union and find with halved paths."""

from __future__ import annotations


class Joined:
    """Numbers, each in the set of its `root`; alone until it is joined."""

    __slots__ = ("_parent",)

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def root(self, number: int) -> int:
        parent = self._parent
        while parent.setdefault(number, number) != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    def join(self, one: int, other: int) -> None:
        self._parent[self.root(other)] = self.root(one)

    def numbers(self) -> list[int]:
        """All that were joined or asked for."""
        return list(self._parent)
