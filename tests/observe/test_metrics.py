"""Metrics: counted in workers, summed by the supervisor, read by the Prometheus client."""

from __future__ import annotations

import asyncio
import re
import socket
from dataclasses import replace
from pathlib import Path

import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gateway.model import TASKS, Exchange, Mode, Outcome, TaskReading, Timings, Usage, Verdict
from gateway.observe.counters import MAX_SERIES, WorkerMetrics
from gateway.observe.exposition import MetricsAggregate
from gateway.observe.link import SupervisorLink, WorkerLink
from gateway.observe.metrics import TABLE
from gateway.observe.recorder import MetricsRecorder, status_class
from gateway.observe.series import PolicySeries
from tests.core.builders import policy, rule

from .test_log import Fixed, an_exchange

ROOT = Path(__file__).parents[2]


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


def test_a_worker_that_ended_leaves_its_counts_and_takes_its_gauges_at_once() -> None:
    total, worker = MetricsAggregate(), WorkerMetrics()
    worker.inc("hydragate_tokens_total", ("input",), 5)
    worker.set("hydragate_inflight", 3)
    total.merge(0, 2, worker.snapshot())
    total.end(0, 1)  # an earlier life of it, heard of late
    assert value(total.text(), "hydragate_inflight") == 3
    total.end(0, 2)
    total.end(0, 2)
    assert value(total.text(), "hydragate_inflight") is None
    assert value(total.text(), "hydragate_tokens_total", direction="input") == 5


def test_every_counter_that_an_alert_is_built_on_is_there_before_it_counts() -> None:
    """A rate does not see a series appear: only from 0 to 1 is a step."""
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules/hydragate.yaml").read_text())
    alerts = "".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
    total, worker = MetricsAggregate(), WorkerMetrics()
    worker.add_source(PolicySeries(Fixed(), "proxy"))
    total.merge(0, 1, worker.snapshot())
    counters = [one.name for one in TABLE if one.kind == "counter" and one.name in alerts]
    assert "hydragate_degraded_total" in counters
    assert [name for name in counters if value(total.text(), name) != 0] == []
    for name, labels in re.findall(r'(hydragate_\w+)\{(\w+="\w+")\}', alerts):
        if name not in counters:  # a gauge's value tells, not its step
            continue
        label, _, wanted = labels.partition("=")
        assert value(total.text(), name, **{label: wanted.strip('"')}) == 0


def test_the_series_of_a_policy_start_with_it_and_of_a_changed_one_with_that() -> None:
    source, worker, total = Fixed(), WorkerMetrics(), MetricsAggregate()
    worker.add_source(PolicySeries(source, "proxy"))
    total.merge(0, 1, worker.snapshot())
    assert value(total.text(), "hydragate_findings_total", rule="prove", verdict="verify") == 0
    assert value(total.text(), "hydragate_decisions_total", reason="prove") == 0
    assert value(total.text(), "hydragate_degraded_total", limit="l") == 0
    source.current = policy(rule("later", Verdict.DENY, Mode.SHADOW))
    total.merge(0, 1, worker.snapshot())
    assert value(total.text(), "hydragate_findings_total", rule="later", mode="shadow") == 0
    assert value(total.text(), "hydragate_decisions_total", reason="later") is None


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


def test_networks_are_counted_by_class_and_by_the_policys_sets_of_countries() -> None:
    source, metrics, total = Fixed(), WorkerMetrics(), MetricsAggregate()
    source.current = replace(source.current, region_sets={"closed": frozenset({"XA", "XB"})})
    metrics.add_source(PolicySeries(source, "proxy"))
    recorder, one = MetricsRecorder(metrics, source), an_exchange()
    for country, network_class in (("XA", "vpn"), ("XB", None), ("DE", "vpn"), (None, None)):
        facts = replace(one.facts, country=country, network_class=network_class)
        recorder.record(replace(one, facts=facts))
    total.merge(0, 1, metrics.snapshot())
    text = total.text()
    assert value(text, "hydragate_networks_total", network_class="vpn", verdict="verify") == 2
    assert value(text, "hydragate_networks_total", network_class="unknown", verdict="verify") == 2
    assert value(text, "hydragate_networks_total", network_class="tor", verdict="deny") == 0
    assert value(text, "hydragate_regions_total", region_set="closed", verdict="verify") == 2
    assert value(text, "hydragate_regions_total", region_set="closed", verdict="deny") == 0


def test_the_scores_of_a_request_are_counted_by_task_and_only_where_it_was_scored() -> None:
    metrics, total = WorkerMetrics(), MetricsAggregate()
    recorder, one = MetricsRecorder(metrics), an_exchange()
    recorder.record(one)
    total.merge(0, 1, metrics.snapshot())
    assert b"hydragate_task_score_bucket" not in total.text()
    scores = tuple(0.97 if task == "grading" else 0.02 for task in TASKS)
    reading = TaskReading("v1", "0", scores)
    recorder.record(replace(one, facts=replace(one.facts, task=reading)))
    total.merge(0, 1, metrics.snapshot())
    text = total.text()
    name = "hydragate_task_score_bucket"
    for task in TASKS:
        assert value(text, name, task=task, le="0.95") == (task != "grading")
        assert value(text, name, task=task, le="+Inf") == 1
    assert value(text, "hydragate_task_score_sum", task="grading") == 0.97


def test_a_changed_policy_changes_the_sets_that_are_counted_by() -> None:
    source, metrics, total = Fixed(), WorkerMetrics(), MetricsAggregate()
    first = source.current
    recorder, one = MetricsRecorder(metrics, source), an_exchange()
    one = replace(one, facts=replace(one.facts, country="XA"))
    recorder.record(one)
    source.current = replace(first, revision="f" * 12, region_sets={"closed": frozenset({"XA"})})
    recorder.record(replace(one, decision=replace(one.decision, policy_revision="f" * 12)))
    total.merge(0, 1, metrics.snapshot())
    assert value(total.text(), "hydragate_regions_total", region_set="closed") == 1


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
        metrics.set("hydragate_inflight", 1)
        await supervisor.pull()
        assert value(aggregate.text(), "hydragate_inflight") == 1
        supervisor._channel.close()
        await asyncio.wait_for(lost.wait(), 5)
    assert value(aggregate.text(), "hydragate_inflight") is None
    await supervisor.pull()  # nobody there: the last counts have to do, at once
    assert value(aggregate.text(), "hydragate_tokens_total", direction="output") == 3


async def test_silence_is_counted_in_looks_and_ends_with_whatever_a_worker_says() -> None:
    ours, theirs = socket.socketpair()
    supervisor = SupervisorLink(MetricsAggregate(), worker=0, incarnation=1)
    await supervisor.open(ours)
    async with WorkerLink(theirs.detach(), WorkerMetrics(), on_lost=lambda: None) as link:
        assert [supervisor.look() for _ in range(3)] == [1, 2, 3]
        link.tell_ready()
        await asyncio.wait_for(supervisor.ready.wait(), 5)
        assert [supervisor.look() for _ in range(3)] == [0, 1, 2]
        await supervisor.pull()
        assert supervisor.look() == 0
