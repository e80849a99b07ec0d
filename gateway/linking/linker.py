"""The linker: evidence in, publications out. Pure: time is an argument, and nothing else varies.

Seeds whose holders have grown are examined again (`concentration.examine`); a group that agrees in
another block becomes a cluster or joins one; from then on whoever shows marks of the cluster in two
blocks is born into it, at the next tick.

Law: nobody is in a cluster by content alone: membership takes two values of two blocks. Law: an
exempt account (a verified organisation, a contract that covers sharing) is in none. Law: the order
in which evidence of one tick arrives changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from ..core.sub_users import parts_of
from ..model import SECOND_US, record
from . import people
from .clusters import CONFIRMED, DISMISSED, SUSPECTED, Cluster
from .concentration import MOST_SCORED, Candidate, examine, kin_of, own_of, together
from .evidence import Block, Key
from .graph import RINGS, TYING, Account
from .instants import TURN
from .publishing import ClusterView, Publication, publications, view_of
from .snapshot import pack_state, unpack_state
from .state import State
from .traces import TRACES

MAX_WHY = 12
LEAST_BLOCKS = 2
LINGER_US = 30 * SECOND_US
LEAST_LINGERING = 8  # holders that came since
MAX_SUB_USERS = 8_192  # of one aggregator
LOOK_SHARE = 16  # of those who are looked at, one part in this many must be new
LEAST_COMPANY = 0.5  # of a ring's members, how many show a value that is looked at with it


@dataclass(frozen=True, slots=True)
class LinkerSettings:
    """`suspect_nats` is the score from which a cluster is suspected; `watch_nats` from which it is
    shown at all. A seed is examined again when it has grown by the factor `growth`, or by
    `growth_accounts` (of large ones, by a sixteenth of those looked at), whichever comes first."""

    watch_nats: float = 8.0
    suspect_nats: float = 10.0
    least_members: int = 12
    growth: float = 1.15
    growth_accounts: int = 32
    sweep_us: int = 6 * 3600 * 1_000_000


@record
class Evidence:
    """What one exchange adds: new pairs of its account. `is_exempt`: a verified organisation, or
    a contract that covers sharing; such an account is counted and never linked."""

    account_id: str
    at_us: int
    keys: tuple[Key, ...]
    is_exempt: bool = False
    created_us: int | None = None


class Linker:
    """See the module's docstring. Not safe for several threads."""

    def __init__(self, settings: LinkerSettings | None = None) -> None:
        self._settings = settings or LinkerSettings()
        self._state = State()

    @property
    def is_frozen(self) -> bool:
        """While true, ticks draw no conclusions; evidence is kept."""
        return self._state.is_frozen

    @is_frozen.setter
    def is_frozen(self, is_frozen: bool) -> None:
        self._state.is_frozen = is_frozen

    # ── evidence ─────────────────────────────────────────────────────────────────────────────

    def observe(self, evidence: Evidence) -> None:
        graph = self._state.graph
        known = graph.find(evidence.account_id)
        if known is None:
            self._make_room_for(evidence.account_id)
        number = graph.account(evidence.account_id, evidence.at_us) if known is None else known
        account = graph.accounts[number]
        if evidence.is_exempt:
            graph.exempt.add(number)
        else:
            graph.exempt.discard(number)
        account.created_us = evidence.created_us
        account.last_us = max(account.last_us, evidence.at_us)
        traces = []
        for key in evidence.keys:
            family = key.family
            if family in TRACES:
                traces.append(key)
            elif family == TURN:
                if not evidence.is_exempt:
                    self._state.turns.note(evidence.account_id, evidence.at_us)
            else:
                self._show(number, key, evidence.at_us)
        if traces and not evidence.is_exempt:
            self._state.relay.note(evidence.account_id, evidence.at_us, traces)

    def _make_room_for(self, account_id: str) -> None:
        """Of an aggregator's users, who has been there longest and is in no cluster goes; made-up
        users drive out no real ones that are linked."""
        owner, user = parts_of(account_id)
        users = self._state.graph.users.get(owner, {}) if user is not None else {}
        if len(users) >= MAX_SUB_USERS:
            of_account = self._state.clusters.of_account
            gone = next((one for one in users if one not in of_account), next(iter(users)))
            self._state.clusters.leave(gone)
            self._state.graph.drop(gone)

    def _show(self, number: int, key: Key, at_us: int) -> None:
        shown = self._state.graph.show(number, key, at_us)
        if shown is not None:
            self._state.grown[shown] = None
            self._state.fresh[number] = None

    def _close_rings(self, now_us: int) -> None:
        """What traces came to: whoever joined a ring shows it."""
        found = [
            *self._state.relay.settle(now_us),
            *self._state.turns.settle(self._state.graph, now_us),
        ]
        for account_id, key in found:
            self._show(self._state.graph.account(account_id, now_us), key, now_us)

    def tick(self, now_us: int) -> list[Publication]:
        """Draw the conclusions of what was observed; only what changed is published."""
        if not self._state.is_frozen:
            self._close_rings(now_us)
            self._welcome(now_us)
            self._examine_grown(now_us)
            if now_us >= self._state.next_sweep_us:
                self._state.next_sweep_us = now_us + self._settings.sweep_us
                self._state.graph.forget_before(now_us)
        return publications(self._state, self._settings.suspect_nats)

    def _examine_grown(self, now_us: int) -> None:
        grown, self._state.grown = self._state.grown, {}
        due = {seed for seed in grown if self._has_grown(seed)}
        due |= self._lingering(grown.keys() - due, now_us)
        for seed in list(due):
            if self._state.graph.values[seed].block in RINGS:
                due |= self._company_of(seed)
        for seed in sorted(due):
            self._state.waiting.pop(seed, None)
            holders = len(self._state.graph.values[seed].holders)
            unseen = holders - self._state.examined.get(seed, 0)
            self._state.examined[seed] = holders
            found = examine(self._state.graph, seed, unseen=unseen)
            telling = [one for one in found if one.score >= self._settings.watch_nats]
            if telling:
                self._take(together(telling), now_us)

    def _lingering(self, grown: Set[int], now_us: int) -> set[int]:
        """Seeds of clusters that grew a little `LINGER_US` ago: the last lots of a pool that has
        stopped growing, which would wait for ever for as many again."""
        waiting, values = self._state.waiting, self._state.graph.values
        examined, clusters = self._state.examined, self._state.clusters.by_id.values()
        for seed in grown:
            before = examined.get(seed)
            if before is None or seed not in values:
                continue
            if len(values[seed].holders) >= before + LEAST_LINGERING and any(
                seed in cluster.marks for cluster in clusters
            ):
                waiting.setdefault(seed, now_us)
        due = {seed for seed, since_us in waiting.items() if now_us - since_us >= LINGER_US}
        for seed in due:
            del waiting[seed]
        return {seed for seed in due if seed in values}

    def _has_grown(self, seed: int) -> bool:
        """Enough to be looked at again."""
        value = self._state.graph.values.get(seed)
        if value is None or value.block is Block.FACTS:
            return False
        holders = len(value.holders)
        if holders < self._settings.least_members:  # as nearly all have
            return False
        before = self._state.examined.get(seed, 0)
        step = max(self._settings.growth_accounts, min(before, MOST_SCORED) // LOOK_SHARE)
        return holders >= min(self._settings.growth * before, before + step)

    def _company_of(self, ring: int) -> set[int]:
        """What most of a ring show besides: not grown, but the ring ties those who show it."""
        graph = self._state.graph
        holders = list(islice(reversed(graph.values[ring].holders), MOST_SCORED))
        counts = Counter(number for one in holders for number in graph.accounts[one].values)
        least = max(self._settings.least_members, LEAST_COMPANY * len(holders))
        return {
            number
            for number, count in counts.items()
            if count >= least and graph.values[number].block not in TYING
        }

    def _take(self, candidate: Candidate, now_us: int) -> None:
        members = candidate.members - self._state.graph.exempt
        if len(members) < self._settings.least_members:
            return
        cluster = self._state.clusters.home_of(members, now_us)
        for number in sorted(members):
            self._state.clusters.join(cluster, number, now_us)
        cluster.marks |= candidate.coincidences | {candidate.seed}
        graph, inside = self._state.graph, set(cluster.members)
        if candidate.score >= self._settings.suspect_nats:
            cluster.kin |= kin_of(graph, candidate.seed, inside)
        cluster.own = own_of(graph, inside) | cluster.kin
        self._state.clusters.marks_changed()
        for number in graph.values[candidate.seed].holders:
            if number not in self._state.clusters.of_account:
                self._state.fresh[number] = None  # it may be one of them by another mark
        if candidate.score >= cluster.score:
            cluster.score = candidate.score
            cluster.why = self._why(candidate)
        families = [graph.name_of(graph.values[candidate.seed])]
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
        fresh, self._state.fresh = self._state.fresh, {}
        if not fresh:
            return
        graph = self._state.graph
        homes = self._state.clusters.homes()
        copied: list[tuple[str, int, Cluster]] = []
        for number in sorted(fresh) if homes else ():
            account = graph.accounts.get(number)
            is_placed = number in graph.exempt or number in self._state.clusters.of_account
            if account is None or is_placed:
                continue
            home, is_tied = self._home_of(account, homes)
            if home is None:
                continue
            if is_tied:
                self._state.clusters.join(home, number, now_us)
            else:
                copied.append((account.account_id, number, home))
        for _, number, home in sorted(copied, key=lambda one: one[:2]):  # never by arrival
            if not self._state.clusters.join_copied(home, number, now_us):
                self._state.fresh[number] = None  # not in this hour

    def _home_of(
        self, account: Account, homes: Mapping[int, Cluster]
    ) -> tuple[Cluster | None, bool]:
        """One of two ways in: a tie to members and a mark of another block (True); or values of
        two blocks that are the cluster's own (False: both can be copied). What anybody can copy,
        beside what many happen to use, is neither."""
        copied: Cluster | None = None
        marks: dict[str, set[Block]] = {}
        own: dict[str, set[Block]] = {}
        for shown in account.values:
            cluster = homes.get(shown)
            if cluster is None:
                continue
            block = self._state.graph.values[shown].block
            seen = marks.setdefault(cluster.cluster_id, set())
            seen.add(block)
            owned = own.setdefault(cluster.cluster_id, set())
            if shown in cluster.own:
                owned.add(block)
            is_tied = len(seen) >= LEAST_BLOCKS and not seen.isdisjoint(TYING)
            if is_tied:
                return cluster, True
            if copied is None and len(owned) >= LEAST_BLOCKS:
                copied = cluster
        return copied, False

    def _why(self, candidate: Candidate) -> list[str]:
        graph = self._state.graph
        family = _words(graph.name_of(graph.values[candidate.seed]))
        lines = [f"{candidate.holders:,} accounts show the same {family}."]
        reason = (
            "no single one of them explains it"
            if candidate.is_crosswise
            else "nothing else that they share bears that out"
        )
        lines.append(
            f"{len(candidate.members):,} of the {candidate.examined:,} looked at are tied "
            f"to each other by {len(candidate.coincidences):,} values that hardly anybody else "
            f"shows, and {reason} ({candidate.score:.0f} nats)."
        )
        lines += [
            f"{one.covered:,} of them share a {_words(one.family)} with another, in {one.groups:,} "
            f"groups."
            for one in candidate.agreements
        ]
        return lines[:MAX_WHY]

    def clusters(self) -> list[ClusterView]:
        """Every cluster, the largest first."""
        return sorted(
            map(partial(view_of, self._state), self._state.clusters.by_id.values()),
            key=lambda view: (-len(view.accounts), view.cluster_id),
        )

    # ── people ───────────────────────────────────────────────────────────────────────────────

    def confirm(self, cluster_id: str, *, by: str, reason: str, now_us: int) -> None:
        """Raises KeyError for no such cluster."""
        people.decide(self._state, cluster_id, CONFIRMED, by=by, reason=reason, now_us=now_us)

    def dismiss(self, cluster_id: str, *, by: str, reason: str, now_us: int) -> None:
        """The cluster stays, so that the same group is never suspected again. Raises KeyError."""
        people.decide(self._state, cluster_id, DISMISSED, by=by, reason=reason, now_us=now_us)

    def split(
        self, cluster_id: str, account_ids: Sequence[str], *, by: str, reason: str, now_us: int
    ) -> str:
        """See `people.split`."""
        return people.split(
            self._state, cluster_id, account_ids, by=by, reason=reason, now_us=now_us
        )

    def pin(
        self, account_id: str, cluster_id: str | None, *, by: str, reason: str, now_us: int
    ) -> None:
        """See `people.pin`."""
        people.pin(self._state, account_id, cluster_id, by=by, reason=reason, now_us=now_us)

    def undo_since(self, at_us: int, *, by: str, now_us: int) -> int:
        """See `people.undo_since`."""
        return people.undo_since(self._state, at_us, by=by, now_us=now_us)

    def decisions(self) -> list[dict[str, Any]]:
        """What people decided, oldest first."""
        return [dict(record) for record in self._state.decisions]

    def import_decisions(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        """See `people.import_decisions`."""
        return people.import_decisions(self._state, records)

    # ── snapshots ────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> bytes:
        """Everything, so that `restore` goes on where this one is."""
        return pack_state(self._state)

    @classmethod
    def restore(cls, state: bytes, settings: LinkerSettings | None = None) -> Linker:
        """Raises ValueError for what is no snapshot of this version."""
        linker = cls(settings)
        linker._state = unpack_state(state)
        return linker


def _words(family: str) -> str:
    return family.replace("_", " ")
