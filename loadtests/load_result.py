"""What a load run found: outcomes, counts and latencies, of one process or merged from several."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

BUCKETS_PER_DOUBLING = 72  # 2 ** (1 / 72): bounds lie 0.97 % apart
LEAST_S = 1e-6


class Latencies:
    """Seconds by logarithmic buckets: a quantile is at most 1 % too high; mergeable.

    Anything under `LEAST_S` counts as that. Memory is bounded by the range, not by the count.
    """

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts: Counter[int] = Counter(counts or {})

    def add(self, seconds: float) -> None:
        self.counts[_bucket(seconds)] += 1

    def merge(self, other: Latencies) -> None:
        self.counts.update(other.counts)

    def __len__(self) -> int:
        return sum(self.counts.values())

    def quantile(self, share: float) -> float:
        """The upper bound of the bucket that holds the quantile; nan when empty."""
        left = math.ceil(share * len(self))
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 0:
                return float(LEAST_S * 2 ** ((bucket + 1) / BUCKETS_PER_DOUBLING))
        return math.nan

    def as_ms(self) -> dict[str, float]:
        shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
        shares["max"] = 1.0
        return {name: round(self.quantile(share) * 1000, 3) for name, share in shares.items()}


def _bucket(seconds: float) -> int:
    return math.floor(math.log2(max(seconds, LEAST_S) / LEAST_S) * BUCKETS_PER_DOUBLING)


@dataclass(slots=True)
class Outcome:
    """What came back; `status` 0 means that nothing did, and `error` says why."""

    status: int = 0
    latency_s: float = 0.0
    first_byte_s: float = 0.0
    bytes_in: int = 0
    chunks: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    gaps_s: list[float] = field(default_factory=list)
    error: str | None = None


@dataclass(slots=True)
class LoadResult:
    """Counts and latencies of a run, of one process or several."""

    sent: int = 0
    wall_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: Latencies = field(default_factory=Latencies)
    first_bytes: Latencies = field(default_factory=Latencies)
    gaps: Latencies = field(default_factory=Latencies)  # between two arrivals of one answer
    late: Latencies = field(default_factory=Latencies)  # how late shots were sent
    bytes_in: int = 0

    def add(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self.errors[outcome.error] += 1
            return
        self.statuses[outcome.status] += 1
        self.latencies.add(outcome.latency_s)
        self.first_bytes.add(outcome.first_byte_s)
        self.bytes_in += outcome.bytes_in
        for gap_s in outcome.gaps_s:
            self.gaps.add(gap_s)

    def merge(self, other: LoadResult) -> None:
        self.sent += other.sent
        self.wall_s = max(self.wall_s, other.wall_s)
        self.statuses.update(other.statuses)
        self.errors.update(other.errors)
        self.latencies.merge(other.latencies)
        self.first_bytes.merge(other.first_bytes)
        self.gaps.merge(other.gaps)
        self.late.merge(other.late)
        self.bytes_in += other.bytes_in

    @property
    def rate(self) -> float:
        """Answered requests a second."""
        return sum(self.statuses.values()) / self.wall_s if self.wall_s else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "wall_s": round(self.wall_s, 3),
            "per_s": round(self.rate, 1),
            "statuses": {str(status): n for status, n in sorted(self.statuses.items())},
            "errors": dict(self.errors),
            "latency_ms": self.latencies.as_ms(),
            "first_byte_ms": self.first_bytes.as_ms(),
            "gap_ms": self.gaps.as_ms(),
            "sent_late_ms": self.late.as_ms(),
        }
