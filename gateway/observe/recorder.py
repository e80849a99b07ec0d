"""From finished exchanges to metrics."""

from __future__ import annotations

from ..engine import PolicySource
from ..model import TASKS, Decision, Exchange, Outcome, Policy, RequestFacts, Usage
from .counters import Counter, Histogram, WorkerMetrics

OWN_STATUSES = {429: "429", 529: "529"}
"""Refusals of the model API itself, told apart from ours and from other errors."""
MAX_KEPT = 4096
UNKNOWN = "unknown"

_Series = tuple[Counter, Histogram]
"""(decisions, request seconds)."""


class MetricsRecorder:
    """A `Recorder` that counts. Series are looked up once and kept."""

    def __init__(self, metrics: WorkerMetrics, policies: PolicySource | None = None) -> None:
        """`policies` says which sets of countries to count by; none without it."""
        self._metrics = metrics
        self._policies = policies
        self._revision = ""  # whose sets of countries `_places` counts by
        self._places: dict[tuple[str | None, str | None, int], tuple[Counter, ...]] = {}
        self._series: dict[tuple[int, int, str, str], _Series] = {}
        self._tasks: list[Histogram] = []
        self._upstream: dict[int, Histogram] = {}
        self._outcomes = {
            outcome: metrics.counter("hydragate_exchanges_total", (outcome.value,))
            for outcome in Outcome
        }
        self._decision_seconds = metrics.histogram("hydragate_decision_seconds")
        self._input, self._cached_input, self._output = (
            metrics.counter("hydragate_tokens_total", (direction,))
            for direction in ("input", "cached_input", "output")
        )

    def record(self, exchange: Exchange) -> None:
        facts, decision, timings = exchange.facts, exchange.decision, exchange.timings
        key = (decision.verdict, decision.would_be, decision.reason, facts.surface)
        decisions, request_seconds = self._series.get(key) or self._find(key, decision)
        decisions.value += 1
        request_seconds.observe(timings.request_us / 1e6)
        self._count_place(facts, decision)
        if facts.task is not None:
            self._count_tasks(facts.task.scores)
        self._outcomes[exchange.outcome].value += 1
        self._decision_seconds.observe(timings.decision_us / 1e6)
        status = exchange.upstream_status
        if status is not None and timings.upstream_us is not None:
            upstream = self._upstream.get(status) or self._find_upstream(status)
            upstream.observe(timings.upstream_us / 1e6)
        self._count_usage(exchange.usage)
        if decision.findings or decision.degraded:
            self._count_rarer(decision)

    def _find(self, key: tuple[int, int, str, str], decision: Decision) -> _Series:
        _, _, reason, surface = key
        labels = (decision.verdict.text, decision.would_be.text, reason, surface)
        found = (
            self._metrics.counter("hydragate_decisions_total", labels),
            self._metrics.histogram("hydragate_request_seconds", (surface,)),
        )
        if len(self._series) < MAX_KEPT:
            self._series[key] = found
        return found

    def _count_place(self, facts: RequestFacts, decision: Decision) -> None:
        if decision.policy_revision != self._revision:
            self._revision = decision.policy_revision
            self._places.clear()
        key = (facts.country, facts.network_class, decision.verdict)
        for counter in self._places.get(key) or self._find_place(key, decision):
            counter.value += 1

    def _find_place(
        self, key: tuple[str | None, str | None, int], decision: Decision
    ) -> tuple[Counter, ...]:
        country, network_class, _ = key
        verdict = decision.verdict.text
        policy: Policy | None = None if self._policies is None else self._policies.current
        sets = {} if policy is None else policy.region_sets
        found = (
            self._metrics.counter("hydragate_networks_total", (network_class or UNKNOWN, verdict)),
            *(
                self._metrics.counter("hydragate_regions_total", (name, verdict))
                for name, countries in sets.items()
                if country in countries
            ),
        )
        if len(self._places) < MAX_KEPT:
            self._places[key] = found
        return found

    def _count_tasks(self, scores: tuple[float, ...]) -> None:
        # Made when the first request is scored: no series for gateways where nobody scores.
        if not self._tasks:
            self._tasks = [
                self._metrics.histogram("hydragate_task_score", (task,)) for task in TASKS
            ]
        for histogram, score in zip(self._tasks, scores, strict=True):
            histogram.observe(score)

    def _find_upstream(self, status: int) -> Histogram:
        labels = (status_class(status),)
        found = self._metrics.histogram("hydragate_upstream_seconds", labels)
        if len(self._upstream) < MAX_KEPT:
            self._upstream[status] = found
        return found

    def _count_usage(self, usage: Usage) -> None:
        if usage.input_tokens:
            self._input.value += usage.input_tokens
        if usage.cached_input_tokens:
            self._cached_input.value += usage.cached_input_tokens
        if usage.output_tokens:
            self._output.value += usage.output_tokens

    def _count_rarer(self, decision: Decision) -> None:
        for finding in decision.findings:
            self._metrics.inc(
                "hydragate_findings_total", (finding.rule, finding.verdict.text, finding.mode.value)
            )
        if decision.degraded:
            for limit in decision.degraded_limits or ("identity",):
                self._metrics.inc("hydragate_degraded_total", (limit,))


def status_class(status: int) -> str:
    """`2xx` … `5xx`, and the model API's own 429 and 529."""
    return OWN_STATUSES.get(status) or f"{min(9, max(1, status // 100))}xx"
