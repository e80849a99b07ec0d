"""Quotas of clusters lie a little off what the policy says, so that probing tells little.

A keyed hash of epoch, cluster and limit moves each quota: the same on every worker and in every
replay with the same secret, another one each day, and nothing that a caller could compute. The
quota that was used stands in the decision log; the secret never does.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model import SECOND_US, Limit, Quota, Subject
from .keyed import KeyedHash

EPOCH_US = 86_400 * SECOND_US
PURPOSE = "cluster-jitter"
_DIGITS = 13  # hex, 52 bits: exact in a float
_SPAN = float(1 << (4 * _DIGITS))


def epoch_of(now_us: int) -> int:
    """Days since the Unix epoch, UTC."""
    return now_us // EPOCH_US


@dataclass(frozen=True, slots=True)
class Jitter:
    """The quotas of one epoch."""

    keyed: KeyedHash
    epoch: int

    def apply(self, quota: Quota, limit: Limit, subject: Subject) -> Quota:
        """`quota` as it holds for the subject's cluster; unchanged for a limit without jitter."""
        ratio = 0.0 if limit.cluster is None else limit.cluster.jitter
        if ratio == 0.0:
            return quota
        return scaled(quota, 1.0 + ratio * self._offset(limit.name, subject.cluster_id))

    def _offset(self, limit_name: str, cluster_id: str | None) -> float:
        """-1..1, evenly spread."""
        digest = self.keyed.value(PURPOSE, f"{self.epoch}:{limit_name}:{cluster_id}")
        return 2.0 * int(digest[:_DIGITS], 16) / _SPAN - 1.0


def scaled(quota: Quota, factor: float) -> Quota:
    """Rate and burst times `factor`, at least one of each; a quota of 0 stays one."""
    if quota.limit == 0:
        return quota
    limit = max(1, round(quota.limit * factor))
    burst = limit if quota.period_us == 0 else max(1, round(quota.burst * factor))
    return Quota(limit, quota.period_us, burst)
