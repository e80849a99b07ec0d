"""When each account sent lately: at most one instant in `SLOT_US`, at most `KEPT` of them.

Busy accounts are thinned out to their first request of a slot. Where accounts take turns, so do
their first requests of a slot. Law: what is kept follows from what was noted, not from its order.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping

from ..model import SECOND_US

TURN = "turn"  # the family of the trace that says: it sent at this instant
HERE = "0" * 16  # its value; the instant is that of the exchange
SLOT_US = 600 * SECOND_US
KEPT = 32  # of one account: 256 bytes
MAX_ACCOUNTS = 131_072


class Instants:
    """`touched` are accounts with an instant that was not known, since somebody took them."""

    def __init__(self) -> None:
        self.touched: set[str] = set()
        self._of: dict[str, array[int]] = {}

    def note(self, account_id: str, at_us: int) -> None:
        own = self._of.get(account_id)
        if own is None:
            own = self._of[account_id] = array("q")
        place = bisect_left(own, at_us // SLOT_US * SLOT_US)
        if place < len(own) and own[place] // SLOT_US == at_us // SLOT_US:
            own[place] = min(own[place], at_us)
            return
        own.insert(place, at_us)
        if len(own) > KEPT:
            own.pop(0)
        self.touched.add(account_id)

    def of(self, account_id: str) -> array[int]:
        """Ascending; empty where none is known."""
        return self._of.get(account_id, _NONE)

    def make_room(self) -> None:
        """Who sent longest ago goes first."""
        over = len(self._of) - MAX_ACCOUNTS
        if over > 0:
            oldest = sorted((own[-1], name) for name, own in self._of.items())[:over]
            for _, name in oldest:
                del self._of[name]

    def pack(self) -> dict[str, list[int]]:
        return {name: own.tolist() for name, own in self._of.items()}

    @classmethod
    def unpack(cls, packed: Mapping[str, list[int]], touched: list[str]) -> Instants:
        instants = cls()
        instants._of = {name: array("q", own) for name, own in packed.items()}
        instants.touched = set(touched)
        return instants


_NONE: array[int] = array("q")
