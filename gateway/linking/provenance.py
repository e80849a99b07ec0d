"""Provenance: what was issued to one account comes back as history from another.

Counts only what is known to have been issued to another account: unknown is not foreign. What was
issued to two accounts, or is seen on more than `MAX_SEEN`, is public and counts for nothing, also
afterwards. Innocent causes: keys moved inside an organisation, an IDE vendor's failover (one payer
explains both), a transcript that is passed on (it gives or brings, and never both: see `rings`).

Bounded: `MAX_ISSUED` artefacts. When they are too many for `KEPT_US`, only those whose hash ends in
so many zero bits are followed: of each conversation fewer artefacts, of no account none.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ..model import SECOND_US
from .evidence import Block, joined_family
from .rings import Rings

KEPT_US = 6 * 3600 * SECOND_US
MAX_SEEN = 3  # accounts, the one it was issued to included
MAX_ISSUED = 262_144
MAX_LEVEL = 16

joined_family(
    "provenance",
    Block.RELAY,
    "Accounts that bring back what the model API issued to others of them, mutually.",
)


class Issue:
    """One artefact: whose it is (None: public), since when, and who brought it in which
    conversation."""

    __slots__ = ("account_id", "at_us", "brought_by")

    def __init__(self, account_id: str | None, at_us: int) -> None:
        self.account_id = account_id
        self.at_us = at_us
        self.brought_by: list[tuple[str, str]] = []


class Provenance:
    """Joins what is issued with what comes back."""

    def __init__(self) -> None:
        self.rings = Rings()
        self.level = 0  # only hashes that end in so many zero bits are followed
        # The oldest first: of a plain dictionary the first costs as much as went before it.
        self._issued = OrderedDict[str, Issue]()

    def __len__(self) -> int:
        return len(self._issued)

    def issue(self, account_id: str, artefact: str, at_us: int) -> None:
        if not self._follows(artefact):
            return
        known = self._issued.get(artefact)
        if known is None:
            self._issued[artefact] = Issue(account_id, at_us)
            if len(self._issued) > MAX_ISSUED:
                self._make_room(at_us)
        elif known.account_id != account_id:
            self._make_public(known)

    def bring(self, account_id: str, artefact: str, talk: str, at_us: int) -> None:
        """`account_id` has it in its history; `talk` tells its conversations apart."""
        issue = self._issued.get(artefact)
        if issue is None or issue.account_id is None or issue.account_id == account_id:
            return
        if not 0 <= at_us - issue.at_us <= KEPT_US:
            return
        if any(taker == account_id for taker, _ in issue.brought_by):
            return
        issue.brought_by.append((account_id, talk))
        if len(issue.brought_by) >= MAX_SEEN:
            self._make_public(issue)
        else:
            self.rings.cross(account_id, issue.account_id, talk)

    def forget_before(self, now_us: int) -> None:
        """Drop what was issued too long ago; follow more again when there is room."""
        while self._issued:
            if now_us - next(iter(self._issued.values())).at_us <= KEPT_US:
                break
            self._issued.popitem(last=False)
        if self.level and len(self._issued) < MAX_ISSUED // 8:
            self.level -= 1

    def _follows(self, artefact: str) -> bool:
        return not self.level or int(artefact[-4:], 16) % (1 << self.level) == 0

    def _make_room(self, now_us: int) -> None:
        self.forget_before(now_us)
        if len(self._issued) > MAX_ISSUED * 3 // 4:
            self.level = min(MAX_LEVEL, self.level + 1)
            kept = [(one, at) for one, at in self._issued.items() if self._follows(one)]
            self._issued = OrderedDict(kept)
        while len(self._issued) > MAX_ISSUED:  # hashes of somebody's choosing
            self._issued.popitem(last=False)

    def _make_public(self, issue: Issue) -> None:
        for taker, talk in issue.brought_by:
            self.rings.take_back(taker, talk)
        issue.account_id, issue.brought_by = None, []

    def pack(self) -> dict[str, Any]:
        issued = [(a, i.account_id, i.at_us, i.brought_by) for a, i in self._issued.items()]
        return {"rings": self.rings.pack(), "level": self.level, "issued": issued}

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Provenance:
        one = cls()
        one.rings, one.level = Rings.unpack(packed["rings"]), packed["level"]
        for artefact, account_id, at_us, brought_by in packed["issued"]:
            issue = one._issued[artefact] = Issue(account_id, at_us)
            issue.brought_by = [(taker, talk) for taker, talk in brought_by]
        return one
