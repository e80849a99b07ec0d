"""Counts of several processes as sums, in Prometheus' form.

A dead worker's last counts stay in the sums; its gauges do not.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .counters import Histogram, Snapshot, WorkerMetrics, decode_snapshot
from .metrics import BY_NAME, COUNTER, HISTOGRAM, TABLE, Definition, LabelValues


class MetricsAggregate(Collector):
    """Sums over the processes of one gateway."""

    def __init__(self) -> None:
        self.own = WorkerMetrics()  # the supervisor's
        self._current: dict[int, tuple[int, Snapshot]] = {}
        self._ended = Snapshot([], [], [])
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def merge(self, worker: int, incarnation: int, snapshot: bytes) -> None:
        """Take a worker's newest snapshot; an earlier incarnation has ended. Raises
        msgspec.MsgspecError for what is no snapshot."""
        decoded = decode_snapshot(snapshot)
        before = self._current.get(worker)
        if before is not None and before[0] != incarnation:
            self.end(worker, before[0])
        self._current[worker] = (incarnation, decoded)

    def end(self, worker: int, incarnation: int) -> None:
        """That process is gone: its counts are kept for good, its gauges are not."""
        current = self._current.get(worker)
        if current is None or current[0] != incarnation:
            return
        _, snapshot = self._current.pop(worker)
        ended = _Sums()
        ended.add(self._ended)
        ended.add(snapshot)
        self._ended = ended.as_snapshot()

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        sums = _Sums()
        sums.add(self._ended)
        sums.add(decode_snapshot(self.own.snapshot()), with_gauges=True)
        for _, snapshot in self._current.values():
            sums.add(snapshot, with_gauges=True)
        return sums.families()


class ProcessCollector(Collector):
    """One process's own counts, to register in the Prometheus registry of the application
    around a guard."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        sums = _Sums()
        sums.add(decode_snapshot(self._metrics.snapshot()), with_gauges=True)
        return sums.families()


class _Sums:
    """Adds snapshots up and turns them into metric families."""

    def __init__(self) -> None:
        self._values: dict[str, dict[LabelValues, float]] = {}
        self._histograms: dict[str, dict[LabelValues, Histogram]] = {}

    def add(self, snapshot: Snapshot, *, with_gauges: bool = False) -> None:
        for name, labels, value in snapshot.counters + (snapshot.gauges if with_gauges else []):
            if name in BY_NAME:
                series = self._values.setdefault(name, {})
                series[labels] = series.get(labels, 0) + value
        for name, labels, counts, total in snapshot.histograms:
            if name in BY_NAME and len(counts) == len(BY_NAME[name].buckets) + 1:
                of_name = self._histograms.setdefault(name, {})
                of_name.setdefault(labels, Histogram(BY_NAME[name].buckets)).add(counts, total)

    def as_snapshot(self) -> Snapshot:
        return Snapshot(
            [(n, labels, v) for n, series in self._values.items() for labels, v in series.items()],
            [],
            [
                (n, labels, h.counts, h.total)
                for n, series in self._histograms.items()
                for labels, h in series.items()
            ],
        )

    def families(self) -> Iterator[Metric]:
        for definition in TABLE:
            if definition.kind == HISTOGRAM:
                yield self._histogram(definition)
                continue
            build = CounterMetricFamily if definition.kind == COUNTER else GaugeMetricFamily
            family = build(definition.name, definition.doc, labels=definition.labels)
            for labels, value in sorted(self._series(definition).items()):
                family.add_metric(list(labels), value)
            yield family

    def _series(self, definition: Definition) -> dict[LabelValues, float]:
        starts = definition.starts
        if definition.kind == COUNTER and not definition.labels:
            starts = ((),)
        return dict.fromkeys(starts, 0.0) | self._values.get(definition.name, {})

    def _histogram(self, definition: Definition) -> Metric:
        family = HistogramMetricFamily(definition.name, definition.doc, labels=definition.labels)
        for labels, histogram in sorted(self._histograms.get(definition.name, {}).items()):
            cumulated, buckets = 0, []
            bounds = [str(bound) for bound in definition.buckets] + ["+Inf"]
            for bound, count in zip(bounds, histogram.counts, strict=True):
                cumulated += count
                buckets.append((bound, cumulated))
            family.add_metric(list(labels), buckets, histogram.total)
        return family
