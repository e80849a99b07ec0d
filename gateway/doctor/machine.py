"""The machine: room on the disk of the data directory, file descriptors, cores."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import AsyncIterator, Iterator

from ..adapters.connections import DESCRIPTORS_BESIDE
from ..preflight import first_existing
from ..settings import Settings
from .finding import Finding, ok, warning

TOPIC = "machine"
LEAST_FREE_BYTES = 2**30


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    for finding in (*_disk(settings), _descriptors(settings), _cores(settings)):
        yield finding


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.log.dir or settings.data_dir
    there = first_existing(folder)
    free = shutil.disk_usage(there).free
    most = settings.log.keep * settings.log.max_bytes * settings.workers
    said = f"{free / 2**30:.1f} GiB free for {folder}"
    if free < LEAST_FREE_BYTES:
        yield warning(TOPIC, said, "make room: a full disk drops log lines and stops the store")
    elif free < most:
        yield warning(
            TOPIC,
            f"{said}; the decision log may take up to {most / 2**30:.1f} GiB before packing",
            "lower log.keep or log.max_bytes, or make room",
        )
    else:
        yield ok(TOPIC, said)


def _descriptors(settings: Settings) -> Finding:
    """Of a worker, which takes what the system allows without asking anyone."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    upstream = max(u.max_connections for u in settings.upstreams)
    clients = settings.max_client_connections
    wanted = clients + min(clients, upstream) + DESCRIPTORS_BESIDE
    if most != resource.RLIM_INFINITY and most < wanted:
        return warning(
            TOPIC,
            f"a process may open {most} files; max_client_connections ({clients}) and the "
            f"upstreams' max_connections would take {wanted}",
            f"ulimit -n {wanted} (LimitNOFILE= in systemd), or lower them",
        )
    return ok(TOPIC, f"a process may open {most} files")


def _cores(settings: Settings) -> Finding:
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if settings.workers > cores:
        return warning(
            TOPIC, f"{settings.workers} workers share {cores} cores", f"set workers to {cores}"
        )
    return ok(TOPIC, f"{settings.workers} workers, {cores} cores")
