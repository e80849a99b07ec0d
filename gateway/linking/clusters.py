"""Clusters and their lineage: who is in which, since when and why; what people decided.

Law: an account is in one cluster at most. Law: a cluster keeps its id through growth and merge;
the older one absorbs. Law: what a person decided is never undone by evidence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from ..model import SECOND_US

WATCHED, SUSPECTED, CONFIRMED, DISMISSED = "watched", "suspected", "confirmed", "dismissed"
OVERLAP = 0.3  # of the smaller of two groups: they are one
HOUR_US = 3600 * SECOND_US
COPIED = 1.0  # of the members at its beginning, how many may join in an hour by what can be copied
LEAST_COPIED = 32


@dataclass(slots=True)
class Cluster:
    """`members` maps the account's number to the instant at which it joined. `score` is in nats;
    `families` the best score of each family that spoke. `marks` are numbers of values: its seeds,
    what ties it. `own` are values that hardly anybody outside of it shows, `kin` those among them
    by which untied accounts are known (`concentration.kin_of`). `first_us` is the first evidence;
    `copied_us` and `copied` count who joined in the hour since then by what can be copied."""

    cluster_id: str
    first_us: int
    state: str = WATCHED
    score: float = 0.0
    members: dict[int, int] = field(default_factory=dict)
    families: dict[str, float] = field(default_factory=dict)
    marks: set[int] = field(default_factory=set)
    own: set[int] = field(default_factory=set)
    kin: set[int] = field(default_factory=set)
    copied_us: int = 0
    copied: int = 0
    why: list[str] = field(default_factory=list)
    suspected_us: int | None = None
    decided_by: str | None = None  # who confirmed or dismissed it

    @property
    def is_decided(self) -> bool:
        return self.state in (CONFIRMED, DISMISSED)


class Clusters:
    """All clusters and which account is in which."""

    def __init__(self) -> None:
        self.by_id: dict[str, Cluster] = {}
        self.of_account: dict[int, str] = {}
        self.pinned: dict[int, str | None] = {}  # by a person; None: never in any
        self.moved: set[int] = set()  # accounts that joined or left since somebody looked
        self.founded = 0  # how many there ever were: ids are never used again
        self._homes: dict[int, Cluster] | None = None

    def found(self, at_us: int) -> Cluster:
        """A new cluster. Its id tells nothing and is the same in every replay."""
        self.founded += 1
        digest = blake2b(f"{self.founded}:{at_us}".encode(), digest_size=8).hexdigest()
        cluster = Cluster(f"cl_{digest}", at_us)
        self.by_id[cluster.cluster_id] = cluster
        return cluster

    def homes(self) -> Mapping[int, Cluster]:
        """Mark or own value → the cluster it is of; of several, the one that was founded last."""
        if self._homes is None:
            everything = self.by_id.values()
            self._homes = {mark: one for one in everything for mark in one.marks | one.own}
        return self._homes

    def marks_changed(self) -> None:
        """Whoever changes `marks` or `own` of a cluster, or does away with one, says so."""
        self._homes = None

    def home_of(self, members: set[int], at_us: int) -> Cluster:
        """The cluster to which a group of accounts belongs, by overlap; clusters that the group
        shows to be one are merged. A new one where there is none. Whom a person has pinned says
        nothing of the others."""
        counted = Counter(
            cluster_id
            for number in members
            if (cluster_id := self.of_account.get(number)) is not None and number not in self.pinned
        )
        overlapping = [
            self.by_id[cluster_id]
            for cluster_id, count in counted.items()
            if count >= OVERLAP * min(len(members), len(self.by_id[cluster_id].members))
        ]
        if not overlapping:
            return self.found(at_us)
        oldest = min(overlapping, key=lambda c: (not c.is_decided, c.first_us, c.cluster_id))
        for other in overlapping:
            if other is not oldest and not other.is_decided:
                self.absorb(oldest, other)
        return oldest

    def absorb(self, cluster: Cluster, other: Cluster) -> None:
        for number in list(other.members):
            self.join(cluster, number, other.members[number])
        cluster.score = max(cluster.score, other.score)
        cluster.first_us = min(cluster.first_us, other.first_us)
        cluster.marks |= other.marks
        cluster.own |= other.own
        cluster.kin |= other.kin
        cluster.suspected_us = min(
            (at for at in (cluster.suspected_us, other.suspected_us) if at is not None),
            default=None,
        )
        for family, score in other.families.items():
            cluster.families[family] = max(score, cluster.families.get(family, 0.0))
        self.by_id.pop(other.cluster_id, None)
        self.marks_changed()

    def join(self, cluster: Cluster, number: int, at_us: int) -> bool:
        """Whether the account is in the cluster now; a person's pin has the last word."""
        if number in self.pinned and self.pinned[number] != cluster.cluster_id:
            return False
        before = self.of_account.get(number)
        if before == cluster.cluster_id:
            return True
        if before is not None:
            self.by_id[before].members.pop(number, None)
        cluster.members[number] = at_us
        self.moved.add(number)
        self.of_account[number] = cluster.cluster_id
        return True

    def join_copied(self, cluster: Cluster, number: int, at_us: int) -> bool:
        """Join by values that anybody can copy: no more in an hour than there are members, so
        that whoever imitates a cluster's looks on purpose cannot fill it with others at once."""
        if at_us - cluster.copied_us >= HOUR_US:
            cluster.copied_us, cluster.copied = at_us, 0
        if cluster.copied >= max(LEAST_COPIED, (len(cluster.members) - cluster.copied) * COPIED):
            return False
        cluster.copied += 1
        return self.join(cluster, number, at_us)

    def leave(self, number: int) -> None:
        before = self.of_account.pop(number, None)
        if before is not None and before in self.by_id:
            self.by_id[before].members.pop(number, None)
            self.moved.add(number)

    def joined_since(self, at_us: int) -> Iterable[int]:
        return [
            number
            for cluster in self.by_id.values()
            for number, joined_us in cluster.members.items()
            if joined_us >= at_us and number not in self.pinned
        ]
