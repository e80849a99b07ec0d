"""What a replay came to: `summary.json` of CONTRACTS §4."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ..model import Decision, Verdict


@dataclass(slots=True)
class ReplaySummary:
    """`clean` counts exchanges about which no rule or limit had an opinion: nearly all."""

    clean: int = 0
    refused: int = 0
    degraded: int = 0
    by_verdict: dict[str, int] = field(default_factory=dict)
    by_would_be: dict[str, int] = field(default_factory=dict)
    by_rule: dict[str, int] = field(default_factory=dict)
    touched: dict[str, set[str]] = field(default_factory=dict)
    wall_s: float = 0.0

    @property
    def exchanges(self) -> int:
        return self.clean + sum(self.by_verdict.values())

    def count(self, account_id: str, decision: Decision) -> None:
        if not decision.findings and not decision.degraded:
            self.clean += 1
            return
        verdict = decision.verdict.text
        _add(self.by_verdict, verdict)
        _add(self.by_would_be, decision.would_be.text)
        self.degraded += decision.degraded
        for finding in decision.findings:
            _add(self.by_rule, finding.rule)
        if decision.verdict is not Verdict.ALLOW:
            self.refused += 1
            self.touched.setdefault(verdict, set()).add(account_id)

    def as_json(self, peak_memory_bytes: int) -> dict[str, Any]:
        clean = Counter({"allow": self.clean} if self.clean else {})
        everyone: set[str] = set().union(*self.touched.values())
        return {
            "exchanges": self.exchanges,
            "refused": self.refused,
            "by_verdict": dict(sorted((Counter(self.by_verdict) + clean).items())),
            "by_would_be": dict(sorted((Counter(self.by_would_be) + clean).items())),
            "by_rule": dict(sorted(self.by_rule.items())),
            "accounts_touched": {v: len(ids) for v, ids in sorted(self.touched.items())},
            "accounts_touched_any": len(everyone),
            "degraded": self.degraded,
            "wall_s": round(self.wall_s, 3),
            "exchanges_per_s": round(self.exchanges / self.wall_s) if self.wall_s else None,
            "peak_memory_bytes": peak_memory_bytes,
        }


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def peak_memory_bytes() -> int:
    """Peak resident memory of this process; the unit of ru_maxrss differs between systems."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
