"""What a worker tells of itself and its parts with each snapshot of its counters."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from .adapters.connections import Connections
from .adapters.evidence import EvidenceTap
from .adapters.guard import Guard
from .adapters.http_server import BoundedProtocol
from .classifiers.reader import TaskReader
from .model import Ask
from .observe.counters import WorkerMetrics
from .observe.descriptors import DescriptorWatch
from .policy.load import PolicyHolder
from .stores.stream import EvidenceSender


def count_ask(metrics: WorkerMetrics, ask: Ask) -> None:
    level = ask.level.name.lower()
    metrics.inc("hydragate_verifications_total", (level, "asked"))
    metrics.inc("hydragate_verification_asks_total", (level, ask.rule))


def report_itself(
    index: int,
    guard: Guard,
    policies: PolicyHolder,
    descriptors: DescriptorWatch,
    metrics: WorkerMetrics,
) -> None:
    """What is cheaper to look up for each snapshot than to count."""
    metrics.set("hydragate_inflight", guard.inflight)
    metrics.set_counter("hydragate_bad_http_total", BoundedProtocol.rejected)
    metrics.set_counter("hydragate_slow_clients_total", BoundedProtocol.cut_off)
    metrics.forget_gauge("hydragate_policy_info")
    metrics.set("hydragate_policy_info", 1, (policies.current.revision,))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    metrics.set_counter(
        "hydragate_worker_cpu_seconds_total", usage.ru_utime + usage.ru_stime, (str(index),)
    )
    metrics.set("hydragate_worker_descriptors_ratio", descriptors.used(), (str(index),))
    metrics.set("hydragate_worker_memory_bytes", resident_bytes(), (str(index),))


def report_clients(clients: Connections, metrics: WorkerMetrics) -> None:
    metrics.set("hydragate_client_connections", clients.open)
    shed = "hydragate_client_connections_shed_total"
    metrics.set_counter(shed, clients.given_way, ("gave_way",))
    metrics.set_counter(shed, clients.refused, ("refused",))


def report_evidence(sender: EvidenceSender, tap: EvidenceTap, metrics: WorkerMetrics) -> None:
    metrics.set_counter("hydragate_evidence_pairs_total", sender.pairs)
    metrics.set_counter("hydragate_evidence_dropped_total", sender.dropped, ("not_sent",))
    metrics.set_counter("hydragate_evidence_dropped_total", tap.failures, ("not_read",))


def report_tasks(tasks: TaskReader, metrics: WorkerMetrics) -> None:
    metrics.forget_gauge("hydragate_model_info")
    metrics.set("hydragate_model_info", 1, (tasks.version,))
    metrics.set_counter("hydragate_task_failures_total", tasks.failures)


def resident_bytes() -> int:
    """Resident memory now, where the system tells it cheaply; else its peak."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
