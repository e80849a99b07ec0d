"""Series that a policy will count into, so that they are there at 0 before they count."""

from __future__ import annotations

from collections.abc import Iterator

from ..engine import PolicySource
from ..model import Mode, Policy, Verdict
from .counters import WorkerMetrics
from .metrics import LabelValues


class PolicySeries:
    """A source of `WorkerMetrics`: starts the series of the policy in force, and again of each
    that follows it."""

    def __init__(self, policies: PolicySource, surface: str) -> None:
        self._policies = policies
        self._surface = surface
        self._seen: Policy | None = None

    def __call__(self, metrics: WorkerMetrics) -> None:
        policy = self._policies.current
        if policy is self._seen:
            return
        self._seen = policy
        for name, labels in _expected(policy, self._surface):
            metrics.start(name, labels)


def _expected(policy: Policy, surface: str) -> Iterator[tuple[str, LabelValues]]:
    allow = Verdict.ALLOW.text
    yield "hydragate_decisions_total", (allow, allow, "ok", surface)
    for name, verdict, mode in _opinions(policy):
        yield "hydragate_findings_total", (name, verdict.text, mode.value)
        if mode is Mode.ENFORCE:
            yield "hydragate_decisions_total", (verdict.text, verdict.text, name, surface)
    for name in policy.region_sets:
        for verdict in Verdict:
            yield "hydragate_regions_total", (name, verdict.text)
    for limit in policy.limits:
        if limit.mode is Mode.ENFORCE:
            yield "hydragate_degraded_total", (limit.name,)


def _opinions(policy: Policy) -> Iterator[tuple[str, Verdict, Mode]]:
    for rule in policy.rules:
        yield rule.name, rule.verdict, rule.mode
    for limit in policy.limits:
        yield limit.name, Verdict.THROTTLE, limit.mode
