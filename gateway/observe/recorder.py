"""From finished exchanges to metrics."""

from __future__ import annotations

from ..model import Exchange
from .metrics import LabelValues, WorkerMetrics

OWN_STATUSES = {429: "429", 529: "529"}
"""Refusals of the model API itself, told apart from ours and from other errors."""


class MetricsRecorder:
    """A `Recorder` that counts."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._labels: dict[tuple[int, int, str, str], LabelValues] = {}

    def record(self, exchange: Exchange) -> None:
        metrics, facts, decision = self._metrics, exchange.facts, exchange.decision
        timings = exchange.timings
        key = (decision.verdict, decision.would_be, decision.reason, facts.surface)
        labels = self._labels.get(key)
        if labels is None:
            labels = (
                decision.verdict.text,
                decision.would_be.text,
                decision.reason,
                facts.surface,
            )
            if len(self._labels) < 4096:
                self._labels[key] = labels
        metrics.inc("hydragate_decisions_total", labels)
        metrics.inc("hydragate_exchanges_total", (exchange.outcome.value,))
        metrics.observe("hydragate_decision_seconds", timings.decision_us / 1e6)
        metrics.observe("hydragate_request_seconds", timings.request_us / 1e6, (facts.surface,))
        for finding in decision.findings:
            metrics.inc(
                "hydragate_findings_total", (finding.rule, finding.verdict.text, finding.mode.value)
            )
        if exchange.upstream_status is not None and timings.upstream_us is not None:
            metrics.observe(
                "hydragate_upstream_seconds",
                timings.upstream_us / 1e6,
                (status_class(exchange.upstream_status),),
            )
        self._count_usage(exchange)
        if decision.degraded:
            for limit in decision.degraded_limits or ("identity",):
                metrics.inc("hydragate_degraded_total", (limit,))

    def _count_usage(self, exchange: Exchange) -> None:
        usage, metrics = exchange.usage, self._metrics
        if usage.input_tokens:
            metrics.inc("hydragate_tokens_total", ("input",), usage.input_tokens)
        if usage.cached_input_tokens:
            metrics.inc("hydragate_tokens_total", ("cached_input",), usage.cached_input_tokens)
        if usage.output_tokens:
            metrics.inc("hydragate_tokens_total", ("output",), usage.output_tokens)


def status_class(status: int) -> str:
    """`2xx` … `5xx`, and the model API's own 429 and 529."""
    return OWN_STATUSES.get(status) or f"{min(9, max(1, status // 100))}xx"
