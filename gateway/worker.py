"""One serving process: reads its orders from the supervisor, serves until told to stop.

Orders arrive as JSON on an inherited pipe, so that no secret shows in arguments or environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import uvloop
from pydantic import BaseModel

from .adapters.connections import Connections, bound_of
from .adapters.data_plane.side import DataPlaneSide
from .adapters.evidence import EvidenceTap, Witness
from .adapters.forward import Forwarder, Target
from .adapters.geo import GeoHolder
from .adapters.guard import ASGIApp, Guard
from .adapters.http_server import bound_unsent
from .adapters.reading import GuardConfig
from .adapters.verify.site import Mounted, VerificationSite
from .app import (
    SystemClock,
    build_targets,
    geo_holder,
    guard_config,
    linking_keys,
    policies_for,
    read_secret,
)
from .classifiers.load import ModelHolder, load_task_model
from .classifiers.reader import TaskReader
from .core.keyed import KeyedHash
from .engine import Engine
from .hangup import Hangup, outlive_hangups
from .linking.evidence import Extractor
from .linking.traces import Tracer
from .model import Decision
from .observe.counters import WorkerMetrics
from .observe.decision_log import DecisionLog
from .observe.descriptors import DescriptorWatch
from .observe.ids import DecisionIds
from .observe.link import WorkerLink
from .observe.process_log import Occasionally, set_up_logging
from .observe.recorder import MetricsRecorder
from .observe.series import PolicySeries
from .policy.load import PolicyHolder
from .settings import LinkerConfig, Settings
from .stores import RedisStore, open_store
from .stores.stream import EVIDENCE_MESSAGES, EvidenceSender, MessageLog
from .stores.verification import VerificationBook
from .worker_metrics import (
    count_ask,
    report_clients,
    report_evidence,
    report_itself,
    report_tasks,
)
from .worker_server import GracefulServer, server_config
from .workers.asking import AskKeeper
from .workers.verification_building import build_desk, build_site, link_maker

told = logging.getLogger("hydragate.worker")
Source = Callable[[WorkerMetrics], None]


class CheckFds(BaseModel):
    """Sockets of the check port and of the report port, and where workers meet."""

    check_fd: int
    report_tcp_fd: int
    report_udp_fd: int
    folder: Path


class Orders(BaseModel):
    """What the supervisor tells a worker."""

    settings: Settings
    store_url: str
    secret_hex: str
    index: int
    incarnation: int
    listen_fd: int
    link_fd: int
    checks: CheckFds | None = None
    log_dir: Path
    last_good_policy: Path | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """What a worker reads from files, and takes anew when they change."""

    policies: PolicyHolder
    models: ModelHolder
    geo: GeoHolder

    async def poll(self, metrics: WorkerMetrics, every_s: float, hangup: Hangup) -> None:
        """A changed policy, model or address file is swapped in whole; a bad one leaves the old
        one in force. Address data take a moment to read, so a thread does that."""
        while True:
            await hangup.within(every_s)
            outcome = self.policies.reload_if_changed().outcome
            if outcome != "unchanged":
                metrics.inc("hydragate_policy_reload_total", (outcome,))
            look = self.models.reload_if_changed()
            if look != "unchanged":
                metrics.inc("hydragate_model_reload_total", (look,))
            if look == "failed":
                told.error("the changed model is not used: %s", self.models.problem)
            read = await asyncio.to_thread(self.geo.reload_if_changed)
            if read != "unchanged":
                metrics.inc("hydragate_geo_reload_total", (read,))

    def report(self, metrics: WorkerMetrics) -> None:
        """For as long as it lasts, where the counts of reloads only tell that it began."""
        name = "hydragate_files_refused"
        metrics.set(name, int(self.policies.is_refusing), ("policy",))
        metrics.set(name, int(self.models.problem is not None), ("model",))
        metrics.set(name, int(self.geo.is_refusing), ("geo",))


def _open_files(orders: Orders) -> Files:
    settings = orders.settings
    return Files(
        PolicyHolder(settings.policy, fallback=orders.last_good_policy),
        # The supervisor refused to start on a bad model; one that broke later must stop no worker.
        ModelHolder(settings.classifier.model, fallback=load_task_model()),
        geo_holder(settings.geo),
    )


async def serve(orders: Orders) -> None:
    settings = orders.settings
    hangup = Hangup()
    hangup.listen()
    keyed = KeyedHash(bytes.fromhex(orders.secret_hex))
    metrics = WorkerMetrics()
    files = _open_files(orders)
    policies = files.policies
    complain = partial(Occasionally(told).warn, "a request could not be scored")
    tasks = TaskReader(files.models, always=settings.classifier.always, complain=complain)
    store = await open_store(
        orders.store_url,
        secret_fingerprint=keyed.fingerprint(),
        timeout_s=settings.store_timeout_s,
        observe=metrics.observe_store,
    )
    log = DecisionLog(
        orders.log_dir, worker=orders.index, policies=policies, keyed=keyed, rotation=settings.log
    )
    asks = AskKeeper(VerificationBook(store), policies, partial(count_ask, metrics))
    engine = Engine(
        store=store,
        policies=policies_for(settings, policies),
        clock=SystemClock(),
        ids=DecisionIds(),
        keyed=keyed,
        recorders=(log, MetricsRecorder(metrics, policies), asks),
        keeps_windows=settings.windows,
        tasks=tasks,
        geo=files.geo,
    )
    verification = _verification(settings, store, keyed, engine, metrics)
    targets = build_targets(settings)
    forwarder = Forwarder(targets)
    sender = EvidenceSender(MessageLog(store, "evidence", most=EVIDENCE_MESSAGES))
    tap = _tap(settings.linker, keyed, sender)
    witness = tap if settings.linker.collect else None
    config = replace(guard_config(settings), verification_url=verification.link)
    guard = Guard(
        forwarder,
        engine=engine,
        config=config,
        surface="proxy",
        protect=("",),  # everything: what is no path at all is refused as well
        witness=witness,
    )
    clients = Connections(bound_of(settings.max_client_connections, open_files()))
    plane = _data_plane(orders, engine, config, targets, witness)
    sources: list[Source] = [
        partial(report_evidence, sender, tap),
        partial(report_tasks, tasks),
        log.report,
        files.report,
        PolicySeries(policies, "proxy"),
        partial(report_itself, orders.index, guard, policies, DescriptorWatch()),
        partial(report_clients, clients),
        *_plane_sources(policies, plane),
    ]
    for source in sources:
        metrics.add_source(source)
    app: ASGIApp = guard
    if verification.site is not None:
        app = Mounted(guard, verification.site.app())
    app = app if plane is None else plane.beside(app)
    server = GracefulServer(server_config(settings, app, clients))
    async with WorkerLink(orders.link_fd, metrics, on_lost=server.drain) as link:
        server.on_started = link.tell_ready
        spare_the_collector()
        poll = asyncio.create_task(files.poll(metrics, settings.policy_poll_s, hangup))
        try:
            await _listen(orders, server, plane)
        finally:
            poll.cancel()
            await forwarder.aclose()
            await sender.aclose()
            await asks.aclose()
            await store.aclose()
            await asyncio.to_thread(log.close)


def _tap(config: LinkerConfig, keyed: KeyedHash, sender: EvidenceSender) -> EvidenceTap:
    """What takes evidence from exchanges, by the families that the settings name."""
    keys, families = linking_keys(config, keyed), config.families
    return EvidenceTap(
        Extractor(keys, families), Tracer(keys, families), sender.offer, clock=SystemClock()
    )


def _plane_sources(policies: PolicyHolder, plane: DataPlaneSide | None) -> list[Source]:
    """What the data plane tells of itself, and the series of its surfaces."""
    if plane is None:
        return []
    return [plane.report, *[PolicySeries(policies, name) for name in ("ext_authz", "auth_request")]]


def _data_plane(
    orders: Orders,
    engine: Engine,
    config: GuardConfig,
    targets: Sequence[Target],
    witness: Witness | None,
) -> DataPlaneSide | None:
    """What Envoy and nginx ask; None where nobody does."""
    checks = orders.settings.checks
    if orders.checks is None or checks is None:
        return None
    return DataPlaneSide(
        engine,
        config,
        targets,
        checks,
        index=orders.index,
        folder=orders.checks.folder,
        witness=witness,
    )


async def _listen(orders: Orders, server: GracefulServer, plane: DataPlaneSide | None) -> None:
    """On the sockets that the supervisor opened, until told to stop."""
    listener = socket.socket(fileno=orders.listen_fd)
    bound_unsent(listener)
    fds = orders.checks
    if plane is None or fds is None:
        await server.serve(sockets=[listener])
        return
    reports = [socket.socket(fileno=fd) for fd in (fds.report_tcp_fd, fds.report_udp_fd)]
    async with plane.listening(*reports):
        await server.serve(sockets=[listener, socket.socket(fileno=fds.check_fd)])


@dataclass(frozen=True, slots=True)
class Verification:
    """The public side of verification; without settings there is none, and no link to it."""

    site: VerificationSite | None = None
    link: Callable[[Decision], str | None] | None = None


def _verification(
    settings: Settings,
    store: RedisStore,
    keyed: KeyedHash,
    engine: Engine,
    metrics: WorkerMetrics,
) -> Verification:
    config, clock = settings.verification, SystemClock()
    if config is None:
        return Verification()
    desk = build_desk(
        store,
        config,
        keyed=keyed,
        clock=clock,
        policy=lambda: engine.policies.current,
        metrics=metrics,
    )
    site = build_site(
        desk,
        config,
        edge=guard_config(settings).edge,
        keyed=keyed,
        clock=clock,
        metrics=metrics,
        secrets=lambda path: read_secret(path, may_create=False, least=8),
    )
    return Verification(site, link_maker(desk, site))


def spare_the_collector() -> None:
    """What was made while starting lives as long as the process, and an exchange makes no cycles
    worth hunting every few hundred objects: measured, the defaults cost a tenth of the CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


def raise_open_files() -> None:
    """Each stream is two sockets; take what the system allows without asking anyone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1_048_576), hard))


def open_files() -> int | None:
    """How many this process may have open; None: as many as it likes."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def main() -> None:
    outlive_hangups()
    raise_open_files()
    orders = Orders.model_validate_json(sys.stdin.buffer.read())
    set_up_logging(f"worker-{orders.index}")
    uvloop.run(serve(orders))


if __name__ == "__main__":
    main()
