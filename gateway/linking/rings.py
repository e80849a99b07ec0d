"""Accounts that bring what was given to others, and have it brought from them: rings.

Directed: that B brings what was given to A says something of B and nothing of A. So an account is
in a ring only when it does both: it brings what was given to at least `LEAST_GIVERS` others, in
`LEAST_TALKS` conversations, and others bring what was given to it. Who publishes a transcript
gives and never brings; who was handed one brings and never gives; both are in no ring. Two such
accounts of which one brings the other's are in one ring.

A ring is named after the account that was in it first; when rings meet, the larger one's name
holds. Bounded: accounts that crossed longest ago go first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeVar

LEAST_TALKS = 3
LEAST_GIVERS = 2
LEAST_TAKERS = 2
MAX_TALKS = 16  # of one account that are remembered
MAX_TAKERS = 16
MAX_ACCOUNTS = 131_072
T = TypeVar("T")


class Rings:
    """`brought`: account → conversation → whose it was. `taken`: account → who brought what was
    given to it. See the module's docstring."""

    def __init__(self) -> None:
        # The oldest first: of a plain dictionary the first costs as much as went before it.
        self.brought = OrderedDict[str, dict[str, str]]()
        self.taken = OrderedDict[str, dict[str, None]]()
        self.ring_of: dict[str, str] = {}
        self.members: dict[str, list[str]] = {}
        self.touched: dict[str, None] = {}

    def cross(self, taker: str, giver: str, talk: str) -> None:
        """`taker` brings, in the conversation `talk`, what was given to `giver`."""
        talks = _renewed(self.brought, taker)
        talks.pop(talk, None)
        talks[talk] = giver
        takers = _renewed(self.taken, giver)
        takers[taker] = None
        for kept, most in ((talks, MAX_TALKS), (takers, MAX_TAKERS)):
            if len(kept) > most:
                kept.pop(next(iter(kept)))
        self.touched[taker] = self.touched[giver] = None

    def take_back(self, taker: str, talk: str) -> None:
        """It turned out to be known to many. Who is in a ring already stays."""
        talks = self.brought.get(taker)
        if talks is not None:
            talks.pop(talk, None)

    def settle(self) -> list[tuple[str, str]]:
        """(account, ring) of all who joined one, or whose ring has another name, since last."""
        touched, self.touched = self.touched, {}
        changed: dict[str, None] = {}
        for account in sorted(touched):
            if not self._is_two_way(account):
                continue
            if account not in self.ring_of:
                self.ring_of[account] = account
                self.members[account] = [account]
                changed[account] = None
            near = [*self.brought[account].values(), *self.taken[account]]
            for other in dict.fromkeys(near):
                if other in self.ring_of:
                    changed.update(dict.fromkeys(self._join(account, other)))
        return [
            (one, self.ring_of[one]) for one in changed if len(self.members[self.ring_of[one]]) > 1
        ]

    def _is_two_way(self, account: str) -> bool:
        talks = self.brought.get(account, {})
        return (
            len(talks) >= LEAST_TALKS
            and len(set(talks.values())) >= LEAST_GIVERS
            and len(self.taken.get(account, ())) >= LEAST_TAKERS
        )

    def _join(self, one: str, other: str) -> list[str]:
        """Who has another ring now, or is no longer alone in it."""
        kept, gone = self.ring_of[one], self.ring_of[other]
        if kept == gone:
            return []
        if (len(self.members[kept]), gone) < (len(self.members[gone]), kept):
            kept, gone = gone, kept
        moved = self.members.pop(gone)
        was_alone = self.members[kept] if len(self.members[kept]) == 1 else []
        for account in moved:
            self.ring_of[account] = kept
        moved += was_alone
        self.members[kept] += [account for account in moved if account not in was_alone]
        return moved

    def pack(self) -> dict[str, Any]:
        return {
            "brought": self.brought,
            "taken": {account: list(takers) for account, takers in self.taken.items()},
            "members": self.members,
            "touched": list(self.touched),
        }

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Rings:
        rings = cls()
        rings.brought.update(packed["brought"])
        rings.taken.update((one, dict.fromkeys(takers)) for one, takers in packed["taken"].items())
        rings.members = packed["members"]
        rings.ring_of = {one: ring for ring, members in rings.members.items() for one in members}
        rings.touched = dict.fromkeys(packed["touched"])
        return rings


def _renewed(kept: OrderedDict[str, dict[str, T]], account: str) -> dict[str, T]:
    """The account's own, moved to the end of those that are remembered."""
    own = kept.pop(account, {})
    if len(kept) >= MAX_ACCOUNTS:
        kept.popitem(last=False)
    kept[account] = own
    return own
