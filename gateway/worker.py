"""One serving process: reads its orders from the supervisor, serves until told to stop.

Orders arrive as JSON on an inherited pipe, so that no secret shows in arguments or environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import uvicorn
import uvloop
from pydantic import BaseModel

from .adapters.client import networks
from .adapters.connections import Connections, bound_of
from .adapters.data_plane.side import DataPlaneSide
from .adapters.evidence import EvidenceTap, Witness
from .adapters.forward import Forwarder, Target
from .adapters.geo import GeoHolder
from .adapters.guard import ASGIApp, Guard
from .adapters.http_server import BoundedProtocol, bound_unsent, listening
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
from .model import Ask, Decision
from .observe.counters import WorkerMetrics
from .observe.decision_log import DecisionLog
from .observe.ids import DecisionIds
from .observe.link import WorkerLink
from .observe.process_log import Occasionally, set_up_logging
from .observe.recorder import MetricsRecorder
from .observe.series import PolicySeries
from .policy.load import PolicyHolder
from .settings import Settings
from .stores import RedisStore, open_store
from .stores.stream import EVIDENCE_MESSAGES, EvidenceSender, MessageLog
from .stores.verification import VerificationBook
from .workers.asking import AskKeeper
from .workers.verification_building import build_desk, build_site, link_maker

told = logging.getLogger("hydragate.worker")

KEEP_ALIVE_S = 75
BACKLOG = 2048


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


class GracefulServer(uvicorn.Server):
    """uvicorn, except that signals only ask it to drain; what follows is ours to clean up.

    `on_started` is called once connections are accepted.
    """

    on_started: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_started is not None:
            self.on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain)
        yield

    def drain(self) -> None:
        """No new requests; streams go on until the deadline."""
        self.should_exit = True


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
    asks = AskKeeper(VerificationBook(store), policies, partial(_count_ask, metrics))
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
    families = settings.linker.families
    keys = linking_keys(settings.linker, keyed)
    tap = EvidenceTap(
        Extractor(keys, families), Tracer(keys, families), sender.offer, clock=SystemClock()
    )
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
    metrics.add_source(partial(_report_evidence, sender, tap))
    metrics.add_source(partial(_report_tasks, tasks))
    metrics.add_source(log.report)
    metrics.add_source(PolicySeries(policies, "proxy"))
    metrics.add_source(partial(_report, orders.index, guard, policies))
    clients = Connections(bound_of(settings.max_client_connections, open_files()))
    metrics.add_source(partial(_report_clients, clients))
    plane = _data_plane(orders, engine, config, targets, witness)
    if plane is not None:
        metrics.add_source(plane.report)
        for surface in ("ext_authz", "auth_request"):
            metrics.add_source(PolicySeries(policies, surface))
    app: ASGIApp = guard
    if verification.site is not None:
        app = Mounted(guard, verification.site.app())
    app = app if plane is None else plane.beside(app)
    server = GracefulServer(_server_config(settings, app, clients))
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


def _count_ask(metrics: WorkerMetrics, ask: Ask) -> None:
    level = ask.level.name.lower()
    metrics.inc("hydragate_verifications_total", (level, "asked"))
    metrics.inc("hydragate_verification_asks_total", (level, ask.rule))


def _report(index: int, guard: Guard, policies: PolicyHolder, metrics: WorkerMetrics) -> None:
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
    metrics.set("hydragate_worker_memory_bytes", resident_bytes(), (str(index),))


def _report_clients(clients: Connections, metrics: WorkerMetrics) -> None:
    metrics.set("hydragate_client_connections", clients.open)
    shed = "hydragate_client_connections_shed_total"
    metrics.set_counter(shed, clients.given_way, ("gave_way",))
    metrics.set_counter(shed, clients.refused, ("refused",))


def _report_evidence(sender: EvidenceSender, tap: EvidenceTap, metrics: WorkerMetrics) -> None:
    metrics.set_counter("hydragate_evidence_pairs_total", sender.pairs)
    metrics.set_counter("hydragate_evidence_dropped_total", sender.dropped, ("not_sent",))
    metrics.set_counter("hydragate_evidence_dropped_total", tap.failures, ("not_read",))


def _report_tasks(tasks: TaskReader, metrics: WorkerMetrics) -> None:
    metrics.forget_gauge("hydragate_model_info")
    metrics.set("hydragate_model_info", 1, (tasks.version,))
    metrics.set_counter("hydragate_task_failures_total", tasks.failures)


def resident_bytes() -> int:
    """Resident memory now, where the system tells it cheaply; else its peak."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _server_config(settings: Settings, app: ASGIApp, clients: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",  # one that hands on another's awaitable is no coroutine function
        http=listening(
            write_timeout_s=settings.client_write_timeout_s,
            balancers=networks(settings.trusted_proxies) if settings.proxy_protocol else None,
            clients=clients,
            trusted_port=None if settings.checks is None else settings.checks.port,
        ),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_s),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )


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
