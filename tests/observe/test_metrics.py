"""Metrics: counted in workers, summed by the supervisor, read by the Prometheus client."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.model import Exchange, Outcome, Timings, Usage
from gateway.observe.link import SupervisorLink, WorkerLink
from gateway.observe.metrics import MAX_SERIES, TABLE, MetricsAggregate, WorkerMetrics
from gateway.observe.recorder import MetricsRecorder, status_class

from .test_log import an_exchange


def value(text: bytes, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


def test_workers_are_summed_and_a_dead_ones_counts_stay_without_its_gauges() -> None:
    total = MetricsAggregate()
    first, second = WorkerMetrics(), WorkerMetrics()
    for worker in (first, second):
        worker.inc("hydragate_tokens_total", ("input",), 5)
        worker.set("hydragate_inflight", 3)
        worker.observe("hydragate_decision_seconds", 0.002)
    total.merge(0, 1, first.snapshot())
    total.merge(1, 1, second.snapshot())
    assert value(total.text(), "hydragate_tokens_total", direction="input") == 10
    assert value(total.text(), "hydragate_inflight") == 6
    reborn = WorkerMetrics()
    reborn.inc("hydragate_tokens_total", ("input",), 1)
    total.merge(0, 2, reborn.snapshot())
    assert value(total.text(), "hydragate_tokens_total", direction="input") == 11
    assert value(total.text(), "hydragate_inflight") == 3
    assert value(total.text(), "hydragate_decision_seconds_count") == 2


@given(st.lists(st.floats(0, 2, allow_nan=False), max_size=50))
def test_a_histogram_counts_each_value_once_below_its_bound(values: list[float]) -> None:
    metrics, total = WorkerMetrics(), MetricsAggregate()
    for one in values:
        metrics.observe("hydragate_decision_seconds", one)
    total.merge(0, 1, metrics.snapshot())
    text = total.text()
    if values:
        within = value(text, "hydragate_decision_seconds_bucket", le="0.05")
        assert within == sum(one <= 0.05 for one in values)
        assert value(text, "hydragate_decision_seconds_bucket", le="+Inf") == len(values)


def test_series_are_bounded_whatever_labels_come() -> None:
    metrics, total = WorkerMetrics(), MetricsAggregate()
    for number in range(MAX_SERIES + 500):
        metrics.inc("hydragate_degraded_total", (f"limit-{number}",))
    total.merge(0, 1, metrics.snapshot())
    assert value(total.text(), "hydragate_degraded_total", limit="other") == 500


def test_every_metric_has_words_and_only_known_labels() -> None:
    forbidden = {"account", "account_id", "address", "ip", "cluster", "cluster_id", "key"}
    for definition in TABLE:
        assert definition.doc
        assert not forbidden & set(definition.labels)
    assert len({definition.name for definition in TABLE}) == len(TABLE)


def test_an_exchange_is_counted_once_in_every_place_it_belongs() -> None:
    metrics, total = WorkerMetrics(), MetricsAggregate()
    exchange: Exchange = replace(
        an_exchange(),
        outcome=Outcome.COMPLETE,
        usage=Usage(100, 40, 7),
        upstream_status=529,
        timings=Timings(900, 20_000, 50_000),
    )
    MetricsRecorder(metrics).record(exchange)
    total.merge(0, 1, metrics.snapshot())
    text = total.text()
    assert value(text, "hydragate_decisions_total", verdict="verify", reason="prove") == 1
    assert value(text, "hydragate_findings_total", rule="prove", mode="enforce") == 1
    assert value(text, "hydragate_tokens_total", direction="input") == 100
    assert value(text, "hydragate_tokens_total", direction="cached_input") == 40
    assert value(text, "hydragate_upstream_seconds_count", status_class="529") == 1
    assert value(text, "hydragate_decision_seconds_sum") == 0.0009


def test_the_upstreams_own_refusals_are_told_apart() -> None:
    assert [status_class(s) for s in (200, 404, 429, 500, 529)] == [
        "2xx",
        "4xx",
        "429",
        "5xx",
        "529",
    ]


async def test_a_pull_brings_fresh_counts_and_a_lost_supervisor_is_noticed() -> None:
    ours, theirs = socket.socketpair()
    aggregate, metrics = MetricsAggregate(), WorkerMetrics()
    lost = asyncio.Event()
    supervisor = SupervisorLink(aggregate, worker=0, incarnation=1)
    await supervisor.open(ours)
    async with WorkerLink(theirs.detach(), metrics, on_lost=lost.set) as link:
        link.tell_ready()
        await asyncio.wait_for(supervisor.ready.wait(), 5)
        metrics.inc("hydragate_tokens_total", ("output",), 3)
        await supervisor.pull()
        assert value(aggregate.text(), "hydragate_tokens_total", direction="output") == 3
        supervisor._channel.close()
        await asyncio.wait_for(lost.wait(), 5)
    await supervisor.pull()  # nobody there: the last counts have to do, at once
    assert value(aggregate.text(), "hydragate_tokens_total", direction="output") == 3
