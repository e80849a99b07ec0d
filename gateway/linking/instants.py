"""When each account sent lately: at most one instant in a slot of time, at most `KEPT` of them.

Busy accounts are thinned out to their first request of a slot. Where accounts take turns, so do
their first requests of a slot, but who sends more often than there are slots seems to keep a clock.
Law: what is kept follows from what was noted, not from its order.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from operator import sub
from statistics import median

from ..model import SECOND_US

TURN = "turn"  # the family of the trace that says: it sent at this instant
HERE = "0" * 16  # its value; the instant is that of the exchange
SLOT_US = 600 * SECOND_US  # a conversation is mostly one instant
CLOSE_SLOT_US = 30 * SECOND_US  # of accounts that send every few minutes
LEAST_SLOTS = 2  # of an account's usual gap, from which slots show how it varies
KEPT = 32  # of one account: 256 bytes
MAX_ACCOUNTS = 131_072


class Instants:
    """At most one of each account in `slot_us`. See the module's docstring."""

    def __init__(self, slot_us: int = SLOT_US) -> None:
        self._slot_us = slot_us
        self._of: dict[str, array[int]] = {}

    def note(self, account_id: str, at_us: int) -> bool:
        """Whether none was known of this slot."""
        own, slot_us = self._of.get(account_id), self._slot_us
        if own is None:
            self._of[account_id] = array("q", (at_us,))
            return True
        begins_us = at_us // slot_us * slot_us
        if begins_us > own[-1]:  # as nearly always: the latest, and of a new slot
            own.append(at_us)
            if len(own) > KEPT:
                own.pop(0)
            return True
        place = bisect_left(own, begins_us)
        if place < len(own) and own[place] // slot_us == at_us // slot_us:
            own[place] = min(own[place], at_us)
            return False
        own.insert(place, at_us)
        if len(own) > KEPT:
            own.pop(0)
        return True

    def is_thinned(self, account_id: str) -> bool:
        """Whether it sends more often than slots can show; of two instants or fewer that cannot
        be told (False)."""
        own = self.of(account_id)
        return len(own) > 2 and median(map(sub, own[1:], own)) < LEAST_SLOTS * self._slot_us

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
    def unpack(cls, packed: Mapping[str, list[int]], slot_us: int = SLOT_US) -> Instants:
        instants = cls(slot_us)
        instants._of = {name: array("q", own) for name, own in packed.items()}
        return instants


_NONE: array[int] = array("q")
