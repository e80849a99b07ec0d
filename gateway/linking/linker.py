"""The linker: evidence in, publications out. Pure: time is an argument, and nothing else varies.

Seeds whose holders have grown are examined again (`concentration.examine`); a group that agrees in
another block becomes a cluster or joins one; from then on whoever shows marks of the cluster in two
blocks is born into it, at the next tick.

Law: nobody is in a cluster by content alone: membership takes two values of two blocks. Law: an
exempt account (a verified organisation, a contract that covers sharing) is in none. Law: the order
in which evidence of one tick arrives changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any

import msgspec

from .clusters import CONFIRMED, DISMISSED, SUSPECTED, Cluster, Clusters
from .concentration import TYING, Candidate, examine, marks_of
from .evidence import Block, Key
from .graph import Account, Graph

MAX_WHY = 12
LEAST_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class LinkerSettings:
    """`suspect_nats` is the score from which a cluster is suspected; `watch_nats` from which it is
    shown at all. A seed is examined again when it has grown by the
    factor `growth` or by `growth_accounts`, whichever comes first."""

    watch_nats: float = 8.0
    suspect_nats: float = 20.0
    least_members: int = 12
    growth: float = 1.15
    growth_accounts: int = 32
    sweep_us: int = 6 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one exchange adds: new pairs of its account. `is_exempt`: a verified organisation, or
    a contract that covers sharing; such an account is counted and never linked."""

    account_id: str
    at_us: int
    keys: tuple[Key, ...]
    is_exempt: bool = False
    created_us: int | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """What an account's subject says from now on; all None: in no cluster."""

    account_id: str
    cluster_id: str | None
    state: str | None
    size: int | None
    suspicion: float | None


NOWHERE = (None, None, None, None)


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A cluster for people and for `clusters.jsonl`. `families` in nats."""

    cluster_id: str
    state: str
    accounts: tuple[str, ...]
    first_seen_us: int
    suspected_us: int | None
    score: float
    families: Mapping[str, float]
    why: tuple[str, ...]


class Linker:
    """See the module's docstring. Not safe for several threads."""

    def __init__(self, settings: LinkerSettings | None = None) -> None:
        self.is_frozen = False
        self._settings = settings or LinkerSettings()
        self._graph = Graph()
        self._clusters = Clusters()
        self._examined: dict[int, int] = {}  # seed → holders when it was last looked at
        self._grown: dict[int, None] = {}
        self._fresh: dict[int, None] = {}  # accounts that showed something new
        self._published: dict[int, tuple[Any, ...]] = {}
        self._said: dict[str, tuple[str, int, float]] = {}
        self._decisions: list[dict[str, Any]] = []
        self._next_sweep_us = 0

    # ── evidence ─────────────────────────────────────────────────────────────────────────────

    def observe(self, evidence: Evidence) -> None:
        graph = self._graph
        number = graph.account(evidence.account_id, evidence.at_us)
        account = graph.accounts[number]
        account.is_exempt = evidence.is_exempt
        account.created_us = evidence.created_us
        account.last_us = max(account.last_us, evidence.at_us)
        for key in evidence.keys:
            shown = graph.show(number, key, evidence.at_us)
            if shown is not None:
                self._grown[shown] = None
                self._fresh[number] = None

    def tick(self, now_us: int) -> list[Publication]:
        """Draw the conclusions of what was observed; only what changed is published."""
        if not self.is_frozen:
            self._welcome(now_us)
            self._examine_grown(now_us)
            if now_us >= self._next_sweep_us:
                self._next_sweep_us = now_us + self._settings.sweep_us
                self._graph.forget_before(now_us)
        return self._publications()

    def _examine_grown(self, now_us: int) -> None:
        grown, self._grown = self._grown, {}
        least, values = self._settings.growth, self._graph.values
        for seed in sorted(grown):
            value = values.get(seed)
            if value is None or value.block in TYING:
                continue
            holders = len(value.holders)
            if holders < self._settings.least_members:
                continue
            before = self._examined.get(seed, 0)
            if holders < min(least * before, before + self._settings.growth_accounts):
                continue
            self._examined[seed] = holders
            candidate = examine(self._graph, seed)
            if candidate is not None and candidate.score >= self._settings.watch_nats:
                self._take(candidate, now_us)

    def _take(self, candidate: Candidate, now_us: int) -> None:
        members = {n for n in candidate.members if not self._graph.accounts[n].is_exempt}
        if len(members) < self._settings.least_members:
            return
        cluster = self._clusters.home_of(members, now_us)
        for number in sorted(members):
            self._clusters.join(cluster, number, now_us)
        cluster.marks |= candidate.coincidences | {candidate.seed}
        cluster.own = marks_of(self._graph, set(cluster.members))
        for number in self._graph.values[candidate.seed].holders:
            self._fresh[number] = None  # who holds the seed may be one of them by another mark
        if candidate.score >= cluster.score:
            cluster.score = candidate.score
            cluster.why = self._why(candidate)
        families = [self._graph.values[candidate.seed].key.family]
        for family in families + [one.family for one in candidate.agreements]:
            score = round(candidate.score, 1)
            cluster.families[family] = max(score, cluster.families.get(family, 0.0))
        self._judge(cluster, now_us)

    def _judge(self, cluster: Cluster, now_us: int) -> None:
        if cluster.is_decided:
            return
        if cluster.score >= self._settings.suspect_nats:
            if cluster.state != SUSPECTED:
                cluster.suspected_us = now_us
            cluster.state = SUSPECTED

    def _welcome(self, now_us: int) -> None:
        """Accounts that show what the cluster shows, in two blocks, are born into it."""
        fresh, self._fresh = self._fresh, {}
        homes = {mark: c for c in self._clusters.by_id.values() for mark in c.marks | c.own}
        for number in sorted(fresh) if homes else ():
            account = self._graph.accounts.get(number)
            if account is None or account.is_exempt or number in self._clusters.of_account:
                continue
            home = self._home_of(account, homes)
            if home is not None:
                self._clusters.join(home, number, now_us)

    def _home_of(self, account: Account, homes: Mapping[int, Cluster]) -> Cluster | None:
        """One of two ways in: a tie to members and a mark of another block; or values of two
        blocks that are the cluster's own. What anybody can copy, beside what many happen to use,
        is neither."""
        marks: dict[str, set[Block]] = {}
        own: dict[str, set[Block]] = {}
        for shown in account.values:
            cluster = homes.get(shown)
            if cluster is None:
                continue
            block = self._graph.values[shown].block
            seen = marks.setdefault(cluster.cluster_id, set())
            seen.add(block)
            owned = own.setdefault(cluster.cluster_id, set())
            if shown in cluster.own:
                owned.add(block)
            is_tied = len(seen) >= LEAST_BLOCKS and not seen.isdisjoint(TYING)
            if is_tied or len(owned) >= LEAST_BLOCKS:
                return cluster
        return None

    def _why(self, candidate: Candidate) -> list[str]:
        seed = self._graph.values[candidate.seed]
        lines = [f"{candidate.holders:,} accounts show the same {_words(seed.key.family)}."]
        lines.append(
            f"{len(candidate.members):,} of the {candidate.examined:,} looked at are tied "
            f"to each other by {len(candidate.coincidences):,} values that hardly anybody else "
            f"shows, and no single one of them explains it ({candidate.score:.0f} nats)."
        )
        lines += [
            f"{one.covered:,} of them share a {_words(one.family)} with another, in {one.groups:,} "
            f"groups."
            for one in candidate.agreements
        ]
        return lines[:MAX_WHY]

    # ── publishing ───────────────────────────────────────────────────────────────────────────

    def _publications(self) -> list[Publication]:
        """Of accounts that moved, and of whole clusters of which something else is to be said."""
        clusters = self._clusters
        moved, clusters.moved = clusters.moved, set()
        for cluster in clusters.by_id.values():
            said = (cluster.state, _rounded(len(cluster.members)), self._suspicion(cluster))
            if self._said.get(cluster.cluster_id) != said:
                self._said[cluster.cluster_id] = said
                moved |= cluster.members.keys()
        found: list[Publication] = []
        for number in sorted(moved):
            account = self._graph.accounts.get(number)
            if account is None:
                self._published.pop(number, None)
                continue
            says = self._of(number)
            if self._published.get(number, NOWHERE) != says:
                self._published[number] = says
                found.append(Publication(account.account_id, *says))
        return found

    def _of(self, number: int) -> tuple[Any, ...]:
        cluster_id = self._clusters.of_account.get(number)
        if cluster_id is None:
            return NOWHERE
        cluster = self._clusters.by_id[cluster_id]
        size = _rounded(len(cluster.members))
        return (cluster_id, cluster.state, size, self._suspicion(cluster))

    def _suspicion(self, cluster: Cluster) -> float:
        """0..1: one half where a cluster becomes suspected; what people decided is certain."""
        if cluster.state == CONFIRMED:
            return 1.0
        if cluster.state == DISMISSED:
            return 0.0
        return round(1 - exp(-log(2) * cluster.score / self._settings.suspect_nats), 2)

    def clusters(self) -> list[ClusterView]:
        """Every cluster, the largest first."""
        return sorted(
            map(self._view, self._clusters.by_id.values()),
            key=lambda view: (-len(view.accounts), view.cluster_id),
        )

    def _view(self, cluster: Cluster) -> ClusterView:
        accounts = self._graph.accounts
        names = sorted(accounts[n].account_id for n in cluster.members if n in accounts)
        return ClusterView(
            cluster.cluster_id,
            cluster.state,
            tuple(names),
            cluster.first_us,
            cluster.suspected_us,
            round(cluster.score, 1),
            dict(sorted(cluster.families.items())),
            tuple(cluster.why),
        )

    # ── people ───────────────────────────────────────────────────────────────────────────────

    def confirm(self, cluster_id: str, *, by: str, reason: str, now_us: int) -> None:
        """Raises KeyError for no such cluster."""
        self._decide(cluster_id, CONFIRMED, by=by, reason=reason, now_us=now_us)

    def dismiss(self, cluster_id: str, *, by: str, reason: str, now_us: int) -> None:
        """The cluster stays, so that the same group is never suspected again. Raises KeyError."""
        self._decide(cluster_id, DISMISSED, by=by, reason=reason, now_us=now_us)

    def split(
        self, cluster_id: str, account_ids: Sequence[str], *, by: str, reason: str, now_us: int
    ) -> str:
        """These accounts become a watched cluster of their own, pinned there; its id. Raises
        KeyError for no such cluster, ValueError where none of the accounts is in it."""
        cluster = self._clusters.by_id[cluster_id]
        found = [self._graph.find(account_id) for account_id in account_ids]
        numbers = [number for number in found if number is not None and number in cluster.members]
        if not numbers:
            raise ValueError(f"none of these accounts is in {cluster_id}")
        apart = self._clusters.found(now_us)
        apart.why = [f"Split from {cluster_id}: {reason}"]
        for number in numbers:
            self._clusters.pinned[number] = apart.cluster_id
            self._clusters.join(apart, number, now_us)
        self._note("split", cluster_id, by, reason, now_us, accounts=list(account_ids))
        return apart.cluster_id

    def pin(
        self, account_id: str, cluster_id: str | None, *, by: str, reason: str, now_us: int
    ) -> None:
        """Keep an account in a cluster, or out of all (None). Raises KeyError."""
        number = self._graph.account(account_id, now_us)
        self._clusters.pinned[number] = cluster_id
        if cluster_id is None:
            self._clusters.leave(number)
        else:
            self._clusters.join(self._clusters.by_id[cluster_id], number, now_us)
        self._note("pin", cluster_id, by, reason, now_us, accounts=[account_id])

    def undo_since(self, at_us: int, *, by: str, now_us: int) -> int:
        """Take back what evidence alone has joined since then; how many accounts left."""
        numbers = list(self._clusters.joined_since(at_us))
        for number in numbers:
            self._clusters.leave(number)
        self._note("undo", None, by, f"since {at_us}", now_us, accounts=[])
        return len(numbers)

    def decisions(self) -> list[dict[str, Any]]:
        """What people decided, oldest first."""
        return [dict(record) for record in self._decisions]

    def _decide(self, cluster_id: str, state: str, *, by: str, reason: str, now_us: int) -> None:
        cluster = self._clusters.by_id[cluster_id]
        cluster.state, cluster.decided_by = state, by
        accounts = list(self._view(cluster).accounts)
        self._note(state, cluster_id, by, reason, now_us, accounts=accounts)

    def _note(
        self,
        decision: str,
        cluster_id: str | None,
        by: str,
        reason: str,
        now_us: int,
        *,
        accounts: list[str],
    ) -> None:
        self._decisions.append(
            {
                "decision": decision,
                "cluster_id": cluster_id,
                "accounts": accounts,
                "by": by,
                "reason": reason,
                "at_us": now_us,
            }
        )

    def import_decisions(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """Repeat decisions that were exported, by their accounts; returns what could not be."""
        problems = []
        for position, record in enumerate(records):
            try:
                self._repeat(record)
            except (KeyError, ValueError, TypeError) as error:
                problems.append(f"decision {position}: {error}")
        return problems

    def _repeat(self, record: Mapping[str, Any]) -> None:
        decision, now_us = str(record["decision"]), int(record["at_us"])
        by, reason = str(record["by"]), str(record["reason"])
        if decision == "pin" and record.get("cluster_id") is None:
            for account_id in record["accounts"]:
                self.pin(str(account_id), None, by=by, reason=reason, now_us=now_us)
        elif decision in (CONFIRMED, DISMISSED):
            numbers = {self._graph.account(str(name), now_us) for name in record["accounts"]}
            cluster = self._clusters.home_of(numbers, now_us)
            for number in sorted(numbers):
                self._clusters.join(cluster, number, now_us)
            self._decide(cluster.cluster_id, decision, by=by, reason=reason, now_us=now_us)
        elif decision not in ("pin", "split", "undo"):
            raise ValueError(f"no such decision: {decision}")

    # ── snapshots ────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> bytes:
        """Everything, so that `restore` goes on where this one is."""
        graph, clusters = self._graph, self._clusters
        names = {number: account.account_id for number, account in graph.accounts.items()}
        keys = {
            number: (value.key.family, value.key.value) for number, value in graph.values.items()
        }
        records = [
            {
                "id": c.cluster_id,
                "first_us": c.first_us,
                "state": c.state,
                "score": c.score,
                "members": [(names[n], at) for n, at in c.members.items() if n in names],
                "families": c.families,
                "marks": [keys[n] for n in c.marks if n in keys],
                "own": [keys[n] for n in c.own if n in keys],
                "why": c.why,
                "suspected_us": c.suspected_us,
                "decided_by": c.decided_by,
            }
            for c in clusters.by_id.values()
        ]
        return msgspec.msgpack.encode(
            {
                "version": 1,
                "accounts": list(graph.records()),
                "clusters": records,
                "count": clusters.founded,
                "pinned": [(names[n], to) for n, to in clusters.pinned.items() if n in names],
                "examined": [(keys[n], size) for n, size in self._examined.items() if n in keys],
                "grown": [keys[n] for n in self._grown if n in keys],
                "fresh": [names[n] for n in self._fresh if n in names],
                "published": [(names[n], p) for n, p in self._published.items() if n in names],
                "decisions": self._decisions,
                "frozen": self.is_frozen,
                "next_sweep_us": self._next_sweep_us,
            }
        )

    @classmethod
    def restore(cls, state: bytes, settings: LinkerSettings | None = None) -> Linker:
        """Raises ValueError for what is no snapshot of this version."""
        try:
            kept = msgspec.msgpack.decode(state)
            if kept["version"] != 1:
                raise ValueError(f"a snapshot of version {kept['version']}; this one knows 1")
            return cls(settings)._filled(kept)
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise ValueError(f"no snapshot of a linker: {error}") from None

    def _filled(self, kept: dict[str, Any]) -> Linker:
        graph, clusters = self._graph, self._clusters
        for account_id, first_us, last_us, created_us, is_exempt, keys in kept["accounts"]:
            number = graph.account(account_id, first_us)
            account = graph.accounts[number]
            account.created_us, account.is_exempt = created_us, is_exempt
            for pair in keys:
                graph.show(number, Key(*pair), last_us)

        def value(pair: list[str]) -> int | None:
            return graph.value(Key(*pair))

        for record in kept["clusters"]:
            cluster = Cluster(record["id"], record["first_us"], record["state"], record["score"])
            clusters.by_id[cluster.cluster_id] = cluster
            for name, at_us in record["members"]:
                clusters.join(cluster, graph.account(name, at_us), at_us)
            cluster.families = record["families"]
            cluster.marks = {n for p in record["marks"] if (n := value(p)) is not None}
            cluster.own = {n for p in record["own"] if (n := value(p)) is not None}
            cluster.why, cluster.suspected_us = record["why"], record["suspected_us"]
            cluster.decided_by = record["decided_by"]
        clusters.founded = kept["count"]
        clusters.pinned = {graph.account(name, 0): to for name, to in kept["pinned"]}
        self._examined = {n: s for p, s in kept["examined"] if (n := value(p)) is not None}
        self._grown = {n: None for p in kept["grown"] if (n := value(p)) is not None}
        self._fresh = {graph.account(name, 0): None for name in kept["fresh"]}
        self._published = {graph.account(name, 0): tuple(p) for name, p in kept["published"]}
        self._decisions, self.is_frozen = kept["decisions"], kept["frozen"]
        self._next_sweep_us = kept["next_sweep_us"]
        return self


def _rounded(size: int) -> int:
    """Two leading digits, so that a growing cluster is not published anew for each member."""
    if size < 100:
        return size
    unit: int = 10 ** (len(str(size)) - 2)
    return size // unit * unit


def _words(family: str) -> str:
    return family.replace("_", " ")
