"""How well clusters agree with campaigns: B-cubed, pairs, and accounts one by one.

Truth has one set for each campaign and one for each innocent account alone; the prediction one set
for each cluster and one for each account in none. Accounts that are alone on both sides agree by
themselves and are left out: a million of them would make any clustering look good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...errors import UsageError
from .blocks import read_blocks
from .containment import share
from .labels import UNLABELLED, Group

# `watched` clusters are candidates and `dismissed` ones were taken back by people.
ACCUSED = ("suspected", "confirmed")
STATES = ("watched", *ACCUSED, "dismissed")


class ClusterLine(msgspec.Struct, frozen=True):
    """A line of `clusters.jsonl`; `first_seen` in Unix seconds."""

    cluster_id: str
    state: str
    accounts: list[str]
    first_seen: float | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Precision and recall, 0 to 1; None where nothing was there to be right or wrong about."""

    precision: float | None
    recall: float | None

    @property
    def f1(self) -> float | None:
        """Their harmonic mean."""
        if self.precision is None or self.recall is None:
            return None
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


@dataclass(frozen=True, slots=True)
class ClusterScores:
    """`found_after_h`: hours from a campaign's first exchange to the first accused cluster that
    is mostly made of it; campaigns without one are absent."""

    clusters: dict[str, int]  # by state
    accounts_scored: int
    b_cubed: Agreement
    pairs: Agreement
    accounts: Agreement
    found_after_h: dict[str, float]


def read_clusters(path: Path) -> list[ClusterLine]:
    """Raises UsageError for what is no cluster, or an account in two that are accused."""
    decoder = msgspec.json.Decoder(ClusterLine)
    clusters: list[ClusterLine] = []
    seen: set[str] = set()
    for block in read_blocks(path):
        for line in block.splitlines():
            try:
                clusters.append(decoder.decode(line))
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise UsageError(f"{path}:{len(clusters) + 1}: no cluster: {error}") from None
            _check(clusters[-1], seen, f"{path}:{len(clusters)}")
    return clusters


def _check(cluster: ClusterLine, seen: set[str], where: str) -> None:
    if cluster.state not in STATES:
        raise UsageError(f"{where}: state {cluster.state!r} is none of {', '.join(STATES)}")
    if cluster.state in ACCUSED:
        if not seen.isdisjoint(cluster.accounts):
            raise UsageError(f"{where}: an account of it is already in another accused cluster")
        seen.update(cluster.accounts)


def score(
    clusters: list[ClusterLine], labels: Mapping[str, Group], first_seen_s: Mapping[str, float]
) -> ClusterScores:
    """Compare accused clusters with labels; `first_seen_s` is of campaigns, Unix seconds."""
    accused = [cluster for cluster in clusters if cluster.state in ACCUSED]
    predicted = {a: cluster.cluster_id for cluster in accused for a in cluster.accounts}
    guilty = {a: group.name for a, group in labels.items() if group.is_campaign}
    involved = guilty.keys() | predicted.keys()
    hits = sum(account in guilty for account in predicted)
    return ClusterScores(
        clusters=dict(sorted(Counter(cluster.state for cluster in clusters).items())),
        accounts_scored=len(involved),
        b_cubed=b_cubed(predicted, guilty),
        pairs=pairs(predicted, guilty),
        accounts=Agreement(share(hits, len(predicted)), share(hits, len(guilty))),
        found_after_h=_found_after_h(accused, labels, first_seen_s),
    )


def b_cubed(predicted: Mapping[str, str], truth: Mapping[str, str]) -> Agreement:
    """Mean over accounts of how pure their cluster is, and how much of their campaign it holds.

    Source: Bagga and Baldwin (COLING-ACL 1998); Amigó et al., Information Retrieval 12 (2009).
    """
    involved = predicted.keys() | truth.keys()
    if not involved:
        return Agreement(None, None)
    cells, clusters, campaigns = _contingency(predicted, truth)
    # An account alone on a side is a set of one there: it shares itself with itself.
    precision = recall = 0.0
    for (cluster, campaign), count in cells.items():
        both = count if cluster is not None and campaign is not None else 1
        precision += count * both / (clusters[cluster] if cluster is not None else 1)
        recall += count * both / (campaigns[campaign] if campaign is not None else 1)
    return Agreement(precision / len(involved), recall / len(involved))


def pairs(predicted: Mapping[str, str], truth: Mapping[str, str]) -> Agreement:
    """Of the pairs put together, those that belong together; and the other way round."""
    cells, clusters, campaigns = _contingency(predicted, truth)
    right = sum(_pairs(n) for (a, b), n in cells.items() if a is not None and b is not None)
    put = sum(map(_pairs, clusters.values()))
    belong = sum(map(_pairs, campaigns.values()))
    return Agreement(share(right, put), share(right, belong))


Cells = Counter[tuple[str | None, str | None]]


def _contingency(
    predicted: Mapping[str, str], truth: Mapping[str, str]
) -> tuple[Cells, Counter[str], Counter[str]]:
    involved = predicted.keys() | truth.keys()
    cells = Counter((predicted.get(a), truth.get(a)) for a in involved)
    return cells, Counter(predicted.values()), Counter(truth.values())


def _pairs(count: int) -> int:
    return count * (count - 1) // 2


def _found_after_h(
    accused: list[ClusterLine], labels: Mapping[str, Group], first_seen_s: Mapping[str, float]
) -> dict[str, float]:
    found: dict[str, float] = {}
    for cluster in accused:
        if cluster.first_seen is None or not cluster.accounts:
            continue
        groups = Counter(labels.get(account, UNLABELLED) for account in cluster.accounts)
        group, count = groups.most_common(1)[0]
        if group.is_campaign and 2 * count > len(cluster.accounts) and group.name in first_seen_s:
            after = max(0.0, (cluster.first_seen - first_seen_s[group.name]) / 3600)
            found[group.name] = min(after, found.get(group.name, after))
    return found
