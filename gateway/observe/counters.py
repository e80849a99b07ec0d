"""Plain counters in each process, handed over as snapshots: no scrape stalls a serving loop."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import msgspec

from .metrics import BY_NAME, LabelValues

MAX_SERIES = 2_000
OTHER = "other"


class Snapshot(msgspec.Struct, array_like=True):
    """What a worker hands over."""

    counters: list[tuple[str, LabelValues, float]]
    gauges: list[tuple[str, LabelValues, float]]
    histograms: list[tuple[str, LabelValues, list[int], float]]


_encode = msgspec.msgpack.Encoder().encode
decode_snapshot = msgspec.msgpack.Decoder(Snapshot).decode


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
            Snapshot(
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
