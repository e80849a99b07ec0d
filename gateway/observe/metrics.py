"""Every metric in one table, plain counters in each worker, sums in the supervisor.

A worker counts in dictionaries and hands snapshots over; the supervisor sums them and serves
`/metrics`, so a scrape never stalls a serving loop. A dead worker's last counts stay in the
sums. Label values come from closed sets and from the policy's names, never from callers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..model import NETWORK_CLASSES, Outcome, Verdict

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
MAX_SERIES = 2_000
OTHER = "other"
LabelValues = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric; `buckets` are upper bounds in the metric's unit.

    `starts` are the series of a counter that are there at 0 before anything was counted: a rate
    does not see the step from no series to 1. A counter without labels always starts.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    doc: str
    buckets: tuple[float, ...] = ()
    starts: tuple[LabelValues, ...] = ()


LEVELS = ("email", "phone", "payment", "identity", "organization")
OUTCOMES = ("asked", "started", "passed", "failed", "abandoned", "clean", "tainted")
MAIL_OUTCOMES = ("sent", "mail_failed")
_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_STORE_CALLS = ("charge", "settle", "resolve", "adopt")
_STORE_ERRORS = ("timeout", "unreachable", "overloaded", "refused")
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

TABLE = (
    Definition(
        "hydragate_decisions_total",
        COUNTER,
        ("verdict", "would_be", "reason", "surface"),
        "Decisions; would_be is the verdict had nothing been in shadow.",
    ),
    Definition(
        "hydragate_findings_total",
        COUNTER,
        ("rule", "verdict", "mode"),
        "Opinions of rules and limits, shadow ones too.",
    ),
    Definition(
        "hydragate_decision_seconds",
        HISTOGRAM,
        (),
        "From the request being read to the decision.",
        _FAST,
    ),
    Definition(
        "hydragate_request_seconds",
        HISTOGRAM,
        ("surface",),
        "Whole exchanges, streams to their end.",
        _SLOW,
    ),
    Definition(
        "hydragate_upstream_seconds",
        HISTOGRAM,
        ("status_class",),
        "Until the head of the model API's answer; its 429 and 529 apart from 4xx and 5xx.",
        _SLOW,
    ),
    Definition(
        "hydragate_tokens_total",
        COUNTER,
        ("direction",),
        "Tokens really used: input, cached_input (part of input) and output.",
        starts=(("input",), ("cached_input",), ("output",)),
    ),
    Definition(
        "hydragate_networks_total",
        COUNTER,
        ("network_class", "verdict"),
        "Decisions by the class of the client's network.",
        starts=tuple(product((*NETWORK_CLASSES, "unknown"), [v.text for v in Verdict])),
    ),
    Definition(
        "hydragate_regions_total",
        COUNTER,
        ("region_set", "verdict"),
        "Decisions about networks in a country of the set, whatever their class and the reason.",
    ),
    Definition("hydragate_inflight", GAUGE, (), "Exchanges under way."),
    Definition(
        "hydragate_exchanges_total",
        COUNTER,
        ("outcome",),
        "How exchanges ended: complete, refused, client_left, upstream_failed, unsettled.",
        starts=tuple((outcome.value,) for outcome in Outcome),
    ),
    Definition("hydragate_store_seconds", HISTOGRAM, ("call",), "Round trips to the store.", _FAST),
    Definition(
        "hydragate_store_errors_total",
        COUNTER,
        ("call", "kind"),
        "Calls that the store did not answer as it should.",
        starts=tuple(product(_STORE_CALLS, _STORE_ERRORS)),
    ),
    Definition(
        "hydragate_degraded_total",
        COUNTER,
        ("limit",),
        "Limits that were decided without the store; 'identity': the caller could not be known.",
        starts=(("identity",),),
    ),
    Definition("hydragate_clusters", GAUGE, ("state",), "Clusters of linked accounts."),
    Definition("hydragate_cluster_accounts", GAUGE, ("state",), "Accounts in clusters."),
    Definition(
        "hydragate_linker_lag_seconds",
        GAUGE,
        (),
        "Age of the oldest unread evidence, on the store's clock; the same on every gateway.",
    ),
    Definition(
        "hydragate_linker_status_age_seconds",
        GAUGE,
        (),
        "Since a linker last said that it leads; grows while none does.",
    ),
    Definition("hydragate_linker_frozen", GAUGE, (), "1 while nobody is linked anew."),
    Definition(
        "hydragate_linker_unpublished", GAUGE, (), "Accounts whose cluster is still to be written."
    ),
    Definition("hydragate_evidence_pairs_total", COUNTER, (), "New (account, key) pairs offered."),
    Definition(
        "hydragate_evidence_dropped_total",
        COUNTER,
        ("why",),
        "not_sent: the store was away too long; not_read: a request could not be looked at; "
        "trimmed: no linker read it in time.",
        starts=(("not_sent",), ("not_read",), ("trimmed",)),
    ),
    Definition(
        "hydragate_verifications_total",
        COUNTER,
        ("level", "outcome"),
        "Verification, by account: asked, started (its page was opened), passed, abandoned, and "
        "after a week clean or tainted; and single steps: sent, mail_failed, wrong_code, "
        "failed and others.",
        starts=(*product(LEVELS, OUTCOMES), *product(("email",), MAIL_OUTCOMES)),
    ),
    Definition(
        "hydragate_verification_asks_total",
        COUNTER,
        ("level", "reason"),
        "Accounts that were asked, by the rule that did.",
    ),
    Definition(
        "hydragate_verification_seconds",
        HISTOGRAM,
        ("level",),
        "From the first ask to the pass.",
        (30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0),
    ),
    Definition(
        "hydragate_verification_webhooks_total",
        COUNTER,
        ("provider", "outcome"),
        "Webhooks of providers: what they came to, or why they were not believed.",
    ),
    Definition(
        "hydragate_directory_news_total",
        COUNTER,
        ("outcome",),
        "News for the platform's directory: delivered, retried, or dead (given up on).",
        starts=(("delivered",), ("retried",), ("dead",)),
    ),
    Definition("hydragate_directory_dead", GAUGE, (), "News that wait for an operator."),
    Definition("hydragate_appeals_waiting", GAUGE, (), "Accounts whose appeal waits."),
    Definition("hydragate_shadow_all", GAUGE, (), "1 while the kill switch stops every refusal."),
    Definition(
        "hydragate_appeal_age_seconds",
        GAUGE,
        (),
        "Since the appeal that has waited longest was written; 0: none waits.",
    ),
    Definition(
        "hydragate_policy_info", GAUGE, ("revision",), "Workers that decide by this revision."
    ),
    Definition(
        "hydragate_policy_reload_total",
        COUNTER,
        ("outcome",),
        "Changed policies that a worker swapped in (ok) or refused (failed).",
        starts=(("ok",), ("failed",)),
    ),
    Definition(
        "hydragate_geo_age_seconds",
        GAUGE,
        (),
        "Age of the oldest address data in use; the same on every gateway with the same files.",
    ),
    Definition(
        "hydragate_geo_reload_total",
        COUNTER,
        ("outcome",),
        "Changed address files that a worker swapped in (ok) or refused (failed).",
        starts=(("ok",), ("failed",)),
    ),
    Definition(
        "hydragate_model_info", GAUGE, ("version",), "Workers that score requests by this model."
    ),
    Definition(
        "hydragate_model_reload_total",
        COUNTER,
        ("outcome",),
        "Changed model files that a worker swapped in (ok) or refused (failed).",
        starts=(("ok",), ("failed",)),
    ),
    Definition(
        "hydragate_task_failures_total", COUNTER, (), "Requests that could not be scored by task."
    ),
    Definition(
        "hydragate_log_lines_total",
        COUNTER,
        ("outcome",),
        "Decision log lines: written, or dropped because the disk or the buffer was full.",
        starts=(("written",), ("dropped",)),
    ),
    Definition("hydragate_bad_http_total", COUNTER, (), "Connections that spoke no sound HTTP."),
    Definition(
        "hydragate_slow_clients_total", COUNTER, (), "Connections cut: the client did not read."
    ),
    Definition(
        "hydragate_pending", GAUGE, (), "Exchanges that a data plane carries and has not reported."
    ),
    Definition(
        "hydragate_settlements_total",
        COUNTER,
        ("outcome",),
        "Reports of data planes: settled, unknown (settled before, or decided elsewhere), or "
        "unreadable.",
        starts=(("settled",), ("unknown",), ("unreadable",)),
    ),
    Definition("hydragate_worker_restarts_total", COUNTER, (), "Workers started again."),
    Definition("hydragate_linker_restarts_total", COUNTER, (), "Our linker started again."),
    Definition("hydragate_store_restarts_total", COUNTER, (), "Embedded store started again."),
    Definition("hydragate_workers", GAUGE, (), "Workers that serve."),
    Definition("hydragate_worker_memory_bytes", GAUGE, ("worker",), "Resident memory."),
    Definition("hydragate_worker_cpu_seconds_total", COUNTER, ("worker",), "CPU time."),
)
BY_NAME = {definition.name: definition for definition in TABLE}


class _Snapshot(msgspec.Struct, array_like=True):
    """What a worker hands over."""

    counters: list[tuple[str, LabelValues, float]]
    gauges: list[tuple[str, LabelValues, float]]
    histograms: list[tuple[str, LabelValues, list[int], float]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Snapshot).decode


class Counter:
    """One series of a counter; `value` only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Histogram:
    """Counts per bucket (not cumulated), the last for what is beyond every bound, and the sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, counts: list[int], total: float) -> None:
        self.counts = [a + b for a, b in zip(self.counts, counts, strict=True)]
        self.total += total


class WorkerMetrics:
    """The counts of one process. Bounded: past `MAX_SERIES` of a metric, labels become `other`."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, LabelValues], Counter] = {}
        self._histograms: dict[tuple[str, LabelValues], Histogram] = {}
        self._gauges: dict[tuple[str, LabelValues], float] = {}
        self._sources: list[Callable[[WorkerMetrics], None]] = []
        self._series: dict[str, int] = {}

    def counter(self, name: str, labels: LabelValues = ()) -> Counter:
        """The series itself, for those who count often enough to keep it."""
        found = self._counters.get((name, labels))
        if found is None:
            found = self._counters.setdefault(self._admitted(name, labels), Counter())
        return found

    def histogram(self, name: str, labels: LabelValues = ()) -> Histogram:
        """As `counter`."""
        found = self._histograms.get((name, labels))
        if found is None:
            key = self._admitted(name, labels)
            found = self._histograms.setdefault(key, Histogram(BY_NAME[name].buckets))
        return found

    def inc(self, name: str, labels: LabelValues = (), by: float = 1) -> None:
        self.counter(name, labels).value += by

    def observe(self, name: str, value: float, labels: LabelValues = ()) -> None:
        self.histogram(name, labels).observe(value)

    def start(self, name: str, labels: LabelValues) -> None:
        """The counter's series is there, at 0 when nothing was counted yet."""
        self.inc(name, labels, 0)

    def set(self, name: str, value: float, labels: LabelValues = ()) -> None:
        self._gauges[(name, labels)] = value

    def set_counter(self, name: str, value: float, labels: LabelValues = ()) -> None:
        """For a count that is kept elsewhere."""
        self.counter(name, labels).value = value

    def forget_gauge(self, name: str) -> None:
        for key in [key for key in self._gauges if key[0] == name]:
            del self._gauges[key]

    def add_source(self, source: Callable[[WorkerMetrics], None]) -> None:
        """Called before each snapshot, to set what is cheaper to look up than to count."""
        self._sources.append(source)

    def observe_store(self, call: str, seconds: float, error_kind: str | None) -> None:
        self.observe("hydragate_store_seconds", seconds, (call,))
        if error_kind is not None:
            self.inc("hydragate_store_errors_total", (call, error_kind))

    def snapshot(self) -> bytes:
        for source in self._sources:
            source(self)
        return _encode(
            _Snapshot(
                [(name, labels, c.value) for (name, labels), c in self._counters.items()],
                [(name, labels, value) for (name, labels), value in self._gauges.items()],
                [(n, labels, h.counts, h.total) for (n, labels), h in self._histograms.items()],
            )
        )

    def _admitted(self, name: str, labels: LabelValues) -> tuple[str, LabelValues]:
        used = self._series.get(name, 0)
        if used >= MAX_SERIES:
            return name, (OTHER,) * len(labels)
        self._series[name] = used + 1
        return name, labels


class MetricsAggregate(Collector):
    """Sums over the processes of one gateway."""

    def __init__(self) -> None:
        self.own = WorkerMetrics()  # the supervisor's
        self._current: dict[int, tuple[int, _Snapshot]] = {}
        self._ended = _Snapshot([], [], [])
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def merge(self, worker: int, incarnation: int, snapshot: bytes) -> None:
        """Take a worker's newest snapshot; an earlier incarnation has ended. Raises
        msgspec.MsgspecError for what is no snapshot."""
        decoded = _decode(snapshot)
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
        sums.add(_decode(self.own.snapshot()), with_gauges=True)
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
        sums.add(_decode(self._metrics.snapshot()), with_gauges=True)
        return sums.families()


class _Sums:
    """Adds snapshots up and turns them into metric families."""

    def __init__(self) -> None:
        self._values: dict[str, dict[LabelValues, float]] = {}
        self._histograms: dict[str, dict[LabelValues, Histogram]] = {}

    def add(self, snapshot: _Snapshot, *, with_gauges: bool = False) -> None:
        for name, labels, value in snapshot.counters + (snapshot.gauges if with_gauges else []):
            if name in BY_NAME:
                series = self._values.setdefault(name, {})
                series[labels] = series.get(labels, 0) + value
        for name, labels, counts, total in snapshot.histograms:
            if name in BY_NAME and len(counts) == len(BY_NAME[name].buckets) + 1:
                of_name = self._histograms.setdefault(name, {})
                of_name.setdefault(labels, Histogram(BY_NAME[name].buckets)).add(counts, total)

    def as_snapshot(self) -> _Snapshot:
        return _Snapshot(
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
