"""Gauges of what lies in the store, looked up for each scrape.

A scrape does not wait for the store: what does not answer in time stands as it was, and the
store's own alerts tell.
"""

from __future__ import annotations

import asyncio
import time

from ..errors import StoreError
from ..observe.counters import WorkerMetrics
from ..ports import Directory
from ..stores.verification import VerificationBook
from .cluster_desk import ClusterDesk

STATUS_TIMEOUT_S = 0.5


async def tell_of_linker(own: WorkerMetrics, desk: ClusterDesk) -> None:
    """Whoever leads, here or elsewhere: what it said last, and how long evidence waits."""
    try:
        async with asyncio.timeout(STATUS_TIMEOUT_S):  # a scrape does not wait for the store
            status, lag_s = await desk.status()
    except (StoreError, TimeoutError):
        return  # what was known stands; the store's own alerts tell
    own.set("hydragate_linker_lag_seconds", lag_s)
    if status is None:
        return
    own.set("hydragate_linker_status_age_seconds", max(0.0, time.time() - status.at_us / 1e6))
    own.set("hydragate_linker_frozen", int(status.is_frozen))
    own.set("hydragate_linker_unpublished", status.unpublished)
    own.set_counter("hydragate_evidence_dropped_total", status.lost, ("trimmed",))
    for state, count in status.clusters.items():
        own.set("hydragate_clusters", count, (state,))
        own.set("hydragate_cluster_accounts", status.accounts.get(state, 0), (state,))


async def tell_of_mode(own: WorkerMetrics, directory: Directory) -> None:
    """Whether the kill switch stops every refusal."""
    try:
        async with asyncio.timeout(STATUS_TIMEOUT_S):
            is_shadow_all = await directory.is_shadow_all()
    except (StoreError, TimeoutError):
        return  # workers keep to what they saw last, and so does this
    own.set("hydragate_shadow_all", int(is_shadow_all))


async def tell_of_news(own: WorkerMetrics, book: VerificationBook | None) -> None:
    """What waits for an operator; 0 where nobody is ever verified."""
    dead = appeals = 0
    age_s = 0.0
    if book is not None:
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S):
                dead = await book.dead_count()
                appeals = await book.appeal_count()
                since_us = await book.oldest_appeal_us()
                age_s = 0.0 if since_us is None else max(0.0, time.time() - since_us / 1e6)
        except (StoreError, TimeoutError):
            return  # what was known stands
    own.set("hydragate_directory_dead", dead)
    own.set("hydragate_appeals_waiting", appeals)
    own.set("hydragate_appeal_age_seconds", age_s)
