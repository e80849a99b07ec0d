"""What a scrape tells of the linker, above all where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.observe.counters import WorkerMetrics
from gateway.observe.exposition import MetricsAggregate
from gateway.stores import RedisStore
from gateway.workers.store_gauges import LinkerGauges

from .linking import desk_on, linker_on, opened, until

AGE = "hydragate_linker_status_age_seconds"
START_S = 1_800_000_000.0


@pytest.fixture
async def store(valkey: Any) -> AsyncIterator[RedisStore]:
    async with opened(valkey.url) as one:
        yield one


def age(metrics: MetricsAggregate) -> float | None:
    """None while the gauge is not told."""
    lines = metrics.text().decode().splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(f"{AGE} ")), None)


async def told(gauges: LinkerGauges, own: WorkerMetrics, *instants_s: float) -> None:
    for now_s in instants_s:
        await gauges.tell(own, now_s)


async def test_a_linker_that_never_led_ages_from_the_first_look(store: RedisStore) -> None:
    metrics = MetricsAggregate()
    gauges = LinkerGauges(desk_on(store), is_awaited=True)
    await told(gauges, metrics.own, START_S)
    assert age(metrics) == 0
    await told(gauges, metrics.own, START_S + 60, START_S + 300)
    assert age(metrics) == 300


async def test_where_no_evidence_is_collected_nobody_waits_for_a_linker(store: RedisStore) -> None:
    metrics = MetricsAggregate()
    gauges = LinkerGauges(desk_on(store), is_awaited=False)
    await told(gauges, metrics.own, START_S, START_S + 300)
    assert age(metrics) is None


async def test_once_one_leads_its_own_word_counts_and_a_lost_one_ages_anew(
    store: RedisStore,
) -> None:
    metrics, desk = MetricsAggregate(), desk_on(store)
    gauges = LinkerGauges(desk, is_awaited=True)
    await told(gauges, metrics.own, START_S)
    async with linker_on(store):

        async def leads() -> bool:
            return (await desk.status())[0] is not None

        await until(leads, "a linker that leads")
    status, _ = await desk.status()
    assert status is not None
    said_s = status.at_us / 1e6
    await told(gauges, metrics.own, said_s + 7)
    assert age(metrics) == pytest.approx(7, abs=0.01)
    await store.wipe()
    await told(gauges, metrics.own, said_s + 1_000, said_s + 1_150)
    assert age(metrics) == pytest.approx(150, abs=0.01)
