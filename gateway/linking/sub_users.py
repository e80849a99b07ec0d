"""Sub-users of aggregators as accounts of the graph (docs/adr/0018).

They have no account facts and no client of their own. What ties them is what crosses accounts
(block `relay`); conversations that cross within one aggregator have that one cause, as accounts
with one payer do, and link nobody (`concentration`).

Law: made-up users cost no more than a name. One is looked at from its second request on, and of an
aggregator no more than `MAX_ADMITTED` at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..core.sub_users import for_linking, parts_of, user_in, with_user
from ..model import RequestFacts, Subject, with_changes
from .publishing import Publication

MAX_ADMITTED = 4_096  # users of one aggregator, in one worker
MAX_MET = 4_096  # of whom one request was seen
MAX_AGGREGATORS = 1_024

Kept = dict[str, tuple[list[str], list[str]]]
"""Aggregator → (met once, admitted), in order."""


class Doorkeeper:
    """Who it is that evidence is about: the account, or the user that an aggregator names."""

    def __init__(self) -> None:
        self._doors: dict[str, tuple[dict[str, None], dict[str, None]]] = {}

    def meet(self, facts: RequestFacts, subject: Subject) -> Subject | None:
        """A request has come; None while its user may still be made up."""
        user = user_in(facts, subject)
        if user is None:
            return subject
        if not self._admits(subject.account_id, user):
            return None
        return for_linking(subject, user)

    def known(self, facts: RequestFacts, subject: Subject) -> Subject | None:
        """Whose the rest of that exchange is."""
        user = user_in(facts, subject)
        if user is None:
            return subject
        met_admitted = self._doors.get(subject.account_id)
        if met_admitted is None or user not in met_admitted[1]:
            return None
        return for_linking(subject, user)

    def pack(self) -> Kept:
        return {name: (list(met), list(admitted)) for name, (met, admitted) in self._doors.items()}

    @classmethod
    def unpack(cls, kept: Mapping[str, tuple[list[str], list[str]]]) -> Doorkeeper:
        door = cls()
        for name, (met, admitted) in kept.items():
            door._doors[name] = dict.fromkeys(met), dict.fromkeys(admitted)
        return door

    def _admits(self, account_id: str, user: str) -> bool:
        door = self._doors.get(account_id)
        if door is None:
            if len(self._doors) >= MAX_AGGREGATORS:
                del self._doors[next(iter(self._doors))]
            door = self._doors[account_id] = {}, {}
        met, admitted = door
        if user in admitted:
            return True
        if user in met:
            del met[user]
            _put(admitted, user, MAX_ADMITTED)
            return True
        _put(met, user, MAX_MET)
        return False


def _put(names: dict[str, None], name: str, most: int) -> None:
    if len(names) >= most:
        del names[next(iter(names))]
    names[name] = None


def relinked(subject: Subject, said: Publication) -> Subject:
    """The stored account with what the linker says of it, or of one of its users."""
    _, user = parts_of(said.account_id)
    if user is None:
        return with_changes(
            subject,
            cluster_id=said.cluster_id,
            cluster_state=said.state,
            cluster_size=said.size,
            cluster_since_us=said.since_us,
            suspicion=said.suspicion,
        )
    if said.cluster_id is None:
        return with_user(subject, user, None)
    linked = (said.cluster_id, said.state or "", said.size or 0, said.suspicion or 0.0)
    return with_user(subject, user, linked)
