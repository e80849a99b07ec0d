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


class LinkerGauges:
    """Whoever leads, here or elsewhere: what it said last, and how long evidence waits.

    `is_awaited`: evidence is collected here, so that somebody has to read it. Then a linker that
    never said anything, or whose word a store that came back empty has lost, ages as one that fell
    silent: from the first look that found none.
    """

    def __init__(self, desk: ClusterDesk, *, is_awaited: bool) -> None:
        self._desk = desk
        self._is_awaited = is_awaited
        self._none_since_s: float | None = None

    async def tell(self, own: WorkerMetrics, now_s: float) -> None:
        """`now_s` is Unix time, as the linker's own."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S):  # a scrape does not wait for the store
                status, lag_s = await self._desk.status()
        except (StoreError, TimeoutError):
            return  # what was known stands; the store's own alerts tell
        own.set("hydragate_linker_lag_seconds", lag_s)
        if status is None:
            self._tell_of_none(own, now_s)
            return
        self._none_since_s = None
        own.set("hydragate_linker_status_age_seconds", max(0.0, now_s - status.at_us / 1e6))
        own.set("hydragate_linker_frozen", int(status.is_frozen))
        own.set("hydragate_linker_unpublished", status.unpublished)
        own.set_counter("hydragate_evidence_dropped_total", status.lost, ("trimmed",))
        for state, count in status.clusters.items():
            own.set("hydragate_clusters", count, (state,))
            own.set("hydragate_cluster_accounts", status.accounts.get(state, 0), (state,))

    def _tell_of_none(self, own: WorkerMetrics, now_s: float) -> None:
        if not self._is_awaited:
            return
        if self._none_since_s is None:
            self._none_since_s = now_s
        own.set("hydragate_linker_status_age_seconds", max(0.0, now_s - self._none_since_s))


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
