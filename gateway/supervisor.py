"""The supervisor: owns the admin port, the embedded store, the listening sockets and the workers.

It serves no traffic. A worker that dies is started again on the same socket, so that connections
waiting there are not lost; its counters stay in the sums. On SIGTERM the workers drain, then the
store stops, then we do. On SIGHUP all of us look at the files, and nothing stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
import zstandard

from .adapters.probe import warn_of_open_upstreams
from .app import (
    SystemClock,
    build_targets,
    geo_holder,
    linking_keys,
    make_folder,
    policies_for,
    read_secret,
    secret_path,
)
from .classifiers.load import ModelHolder, load_cluster_model
from .console.admin import AdminContext, admin_app
from .console.verifications import VerificationContext
from .core.keyed import KeyedHash
from .errors import HydragateError, Problem, StoreError
from .hangup import Hangup
from .linker_process import LinkerKeeper, LinkerOrders
from .observe.audit import AuditLog
from .observe.explain import explain
from .observe.exposition import MetricsAggregate
from .observe.log_left import LeftLogs
from .observe.log_reader import find_decision
from .observe.process_log import set_up_logging
from .policy.keep import keep_copy
from .policy.load import PolicyHolder, load_policy
from .preflight import check_start
from .settings import Settings
from .sockets import address_of, close_all, listen, listen_udp
from .stores import RedisStore
from .stores.embedded import EmbeddedStore
from .stores.opening import open_store_at_start
from .stores.verification import VerificationBook
from .worker_process import PlaneSockets, WorkerKeeper
from .workers.account_import import ImportReport, import_accounts, read_changes
from .workers.account_records import RecordReader
from .workers.cluster_behaviour import ClusterBehaviour
from .workers.cluster_desk import ClusterDesk
from .workers.store_gauges import LinkerGauges, tell_of_mode, tell_of_news
from .workers.store_watch import StoreWatch
from .workers.verification_building import build_orders, build_rounds

log = logging.getLogger("hydragate.supervisor")

LEFT_LOGS_PAUSE_S = 60.0
PACK_PAUSE_S = 0.02


def run(settings: Settings) -> int:
    """Serve until told to stop. Returns the exit code; raises HydragateError before serving."""
    set_up_logging("supervisor")
    check_start(settings)
    load_policy(settings.policy)  # a bad policy ends it here, with every finding
    return uvloop.run(Supervisor(settings).serve())


class Supervisor:
    """Everything of `hydragate serve` that is not on the hot path."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        secret_file, may_create = secret_path(settings)
        self._secret = read_secret(secret_file, may_create=may_create)
        self._keyed = KeyedHash(self._secret)
        linking_keys(settings.linker, self._keyed)  # a file that cannot be read ends it here
        self._policies = PolicyHolder(settings.policy)
        self._geo = geo_holder(settings.geo)
        self._geo.warn_if_old(settings.geo.warn_after_days)
        self._models = ModelHolder(settings.classifier.model)
        self._metrics = MetricsAggregate()
        self._log_dir = settings.log.dir or settings.data_dir / "log"
        self._stopping = asyncio.Event()
        self._hangup = Hangup()
        self._keeper = WorkerKeeper(
            self._metrics, stopping=self._stopping, drain_s=settings.drain_s
        )
        self._probe: asyncio.Task[None] | None = None
        self._embedded: EmbeddedStore | None = None
        self._store: RedisStore | None = None
        self._audit = AuditLog(settings.data_dir / "audit.jsonl")
        self._linker: LinkerKeeper | None = None
        self._linker_gauges: LinkerGauges | None = None
        self._watch: StoreWatch | None = None
        self._book: VerificationBook | None = None

    async def serve(self) -> int:
        settings = self._settings
        make_folder(settings.data_dir)
        make_folder(self._log_dir)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._hangup.listen()
        async with contextlib.AsyncExitStack() as stack:
            store_url = await self._open_store(stack)
            await self._import_accounts()
            self._watch_store(stack)
            public = listen(settings.host, settings.port, settings.workers)
            admin = listen(settings.admin_host, settings.admin_port, 1)[0]
            stack.callback(close_all, [*public, admin])
            planes = self._listen_for_planes(stack)
            await self._start_admin(stack, admin)
            self._keep_left_logs(stack)
            self._start_linker(stack, store_url)
            await self._start_workers(stack, public, planes, store_url)
            with contextlib.suppress(OSError):  # the terminal may be closed by now
                print(self._ready_line(public[0], admin), flush=True)
            stack.callback(self._end_probe)
            self._probe_if_adopting()
            await self._stopping.wait()
            log.info("draining")
            close_all(public)  # nobody queues for workers that accept no more
        return 0

    # ── starting ─────────────────────────────────────────────────────────────────────────────

    async def _open_store(self, stack: contextlib.AsyncExitStack) -> str:
        url = self._settings.store
        if url == "embedded":
            self._embedded = EmbeddedStore(self._settings.data_dir / "store")
            url = await stack.enter_async_context(self._embedded)
        self._store = await open_store_at_start(
            url,
            secret_fingerprint=self._keyed.fingerprint(),
            timeout_s=self._settings.store_timeout_s,
        )
        stack.push_async_callback(self._store.aclose)
        return url

    def _watch_store(self, stack: contextlib.AsyncExitStack) -> None:
        self._watch = StoreWatch(
            self._directory,
            secret_fingerprint=self._keyed.fingerprint(),
            import_accounts=self._import_accounts,
        )
        stack.callback(asyncio.create_task(self._watch.run()).cancel)

    def _records(self) -> RecordReader:
        named = self._settings.identity_header is not None
        return RecordReader(
            self._keyed,
            edge_names_accounts=named,
            geo=self._geo,
            limit_names=lambda: {limit.name for limit in self._policies.current.limits},
        )

    async def _import_accounts(self) -> None:
        path = self._settings.accounts
        if path is None:
            return
        report = ImportReport()
        changes = read_changes(path, self._records(), report)
        await import_accounts(changes, self._directory, report)
        for problem in report.problems:
            log.warning("%s", problem)
        level = logging.WARNING if report.bad else logging.INFO
        log.log(level, "%d accounts imported, %d bad records", report.imported, report.bad)
        # One bad line must not shut out everyone else at a restart; a file that is none would.
        if report.is_all_bad:
            raise HydragateError(
                f"accounts: {path}: none of its {report.bad} records can be used; see above"
            )

    async def _start_admin(self, stack: contextlib.AsyncExitStack, listener: socket.socket) -> None:
        token_file = self._settings.admin_token_file
        token = read_secret(
            token_file or self._settings.data_dir / "admin-token", may_create=token_file is None
        )
        desk = ClusterDesk(self._directory, clock=SystemClock(), audit=self._audit.write)
        is_awaited = self._settings.linker.collect
        self._linker_gauges = LinkerGauges(desk, is_awaited=is_awaited)
        context = AdminContext(
            directory=self._directory,
            desk=desk,
            behaviour=ClusterBehaviour(self._directory, load_cluster_model(), SystemClock()),
            records=self._records(),
            token=token.decode("ascii", "replace"),
            log_dir=self._log_dir,
            metrics_text=self._metrics_text,
            readiness=self._readiness,
            status=self._status,
            reload_policy=self._reload_policy,
            explain=self._explain,
            audit=self._note,
            verifications=self._verifications(stack),
        )
        server = AdminServer(
            uvicorn.Config(
                admin_app(context),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))

        async def stop() -> None:
            server.should_exit = True
            await task

        stack.push_async_callback(stop)

    def _verifications(self, stack: contextlib.AsyncExitStack) -> VerificationContext | None:
        """Grants and appeals, and the rounds: also where no page is served here, as long as the
        policy may ask."""
        config, own, clock = self._settings.verification, self._metrics.own, SystemClock()
        if config is None:
            return None
        store = self._directory
        orders = build_orders(store, clock=clock, metrics=own)
        rounds = build_rounds(
            store,
            config,
            clock=clock,
            metrics=own,
            secrets=lambda path: read_secret(path, may_create=False, least=8),
        )
        task = asyncio.create_task(rounds.run())

        async def stop() -> None:
            task.cancel()
            await asyncio.wait([task])

        stack.push_async_callback(stop)
        self._book = orders.book
        return VerificationContext(store, orders, rounds, self._audit.write)

    def _start_linker(self, stack: contextlib.AsyncExitStack, store_url: str) -> None:
        """After the store and before the workers, so that it outlives them: what they send while
        they drain is still read."""
        if self._settings.linker.run:
            self._linker = LinkerKeeper(
                LinkerOrders(
                    store_url=store_url,
                    secret_fingerprint=self._keyed.fingerprint(),
                    linker=self._settings.linker,
                )
            )
            self._linker.start()
            stack.push_async_callback(self._linker.stop)

    def _listen_for_planes(self, stack: contextlib.AsyncExitStack) -> list[PlaneSockets]:
        """Of each worker; empty where no data plane asks."""
        checks, count = self._settings.checks, self._settings.workers
        if checks is None:
            return []
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hydragate-")))
        check = listen(checks.host, checks.port, count)
        stack.callback(close_all, check)
        tcp = listen(checks.host, checks.report_port, count)
        stack.callback(close_all, tcp)
        udp = listen_udp(checks.host, checks.report_port, count)
        stack.callback(close_all, udp)
        return [PlaneSockets(*three, folder) for three in zip(check, tcp, udp, strict=True)]

    async def _start_workers(
        self,
        stack: contextlib.AsyncExitStack,
        listeners: list[socket.socket],
        planes: list[PlaneSockets],
        store_url: str,
    ) -> None:
        orders = {
            "settings": self._settings.model_dump(),
            "store_url": store_url,
            "secret_hex": self._secret.hex(),
            "log_dir": self._log_dir,
            "last_good_policy": self._keep_policy(),
        }
        poll = asyncio.create_task(self._poll_policy())
        stack.callback(poll.cancel)
        self._keeper.start(listeners, planes, orders)
        stack.push_async_callback(self._keeper.stop)
        await self._keeper.all_ready()

    def _keep_left_logs(self, stack: contextlib.AsyncExitStack) -> None:
        """Where there were more workers before, their logs have nobody else."""
        settings = self._settings
        left = LeftLogs(self._log_dir, workers=settings.workers, keep=settings.log.keep)
        try:
            if left.set_aside():
                task = asyncio.create_task(_tend(left))
                stack.callback(left.close)
                stack.callback(task.cancel)
        except OSError as error:
            log.warning("logs of former workers are not looked after: %s", error)

    def _keep_policy(self) -> Path | None:
        """A worker that starts while the files are broken takes the last good ones."""
        try:
            return keep_copy(self._settings.policy, self._settings.data_dir / "last-good-policy")
        except OSError as error:
            log.warning("the policy could not be kept for later: %s", error)
            return None

    def _probe_if_adopting(self) -> None:
        """Once, beside the traffic: an upstream that is slow to answer delays nothing."""
        policy = policies_for(self._settings, self._policies).current
        if self._settings.probe_upstreams and policy.adopts_unknown and self._probe is None:
            targets = build_targets(self._settings)
            self._probe = asyncio.create_task(warn_of_open_upstreams(targets))

    def _end_probe(self) -> None:
        if self._probe is not None:
            self._probe.cancel()

    async def _poll_policy(self) -> None:
        """The workers swap policies themselves; here only the copy and the log follow."""
        while True:
            if await self._hangup.within(self._settings.policy_poll_s):
                log.info("SIGHUP: looking at policy, model and address files; serving goes on")
                for worker in self._keeper.workers:
                    worker.look_at_files()
            self._look_at_policy()
            await asyncio.to_thread(self._geo.reload_if_changed)

    def _look_at_policy(self) -> list[Problem]:
        report = self._policies.reload_if_changed()
        if report.outcome == "ok":
            policy = self._policies.current
            log.info("policy %s@%s is in force", policy.name, policy.revision)
            self._keep_policy()
            self._probe_if_adopting()
        elif report.outcome == "failed":
            for problem in report.problems[:20]:
                log.error("the changed policy is not used: %s", problem)
        return list(report.problems)

    def _ready_line(self, public: socket.socket, admin: socket.socket) -> str:
        policy = self._policies.current
        scheme = "https" if self._settings.tls_cert else "http"
        upstreams = ", ".join(upstream.url for upstream in self._settings.upstreams)
        checks = self._settings.checks
        asked = "" if checks is None else f" · checks {checks.host}:{checks.port}"
        return (
            f"hydragate ready on {scheme}://{address_of(public)} for {upstreams} · "
            f"admin http://{address_of(admin)} · policy {policy.name}@{policy.revision} · "
            f"{len(self._keeper.workers)} worker{'s' if len(self._keeper.workers) > 1 else ''}"
            f"{asked}"
        )

    # ── what the admin API asks ──────────────────────────────────────────────────────────────

    @property
    def _directory(self) -> RedisStore:
        if self._store is None:
            raise HydragateError("the store is not open yet")
        return self._store

    async def _metrics_text(self) -> bytes:
        links = [worker.link for worker in self._keeper.workers if worker.link is not None]
        await asyncio.gather(*(link.pull() for link in links))
        own = self._metrics.own
        age_s = self._geo.age_s()
        if age_s is not None:
            own.set("hydragate_geo_age_seconds", age_s)
        own.set("hydragate_workers", sum(worker.is_serving for worker in self._keeper.workers))
        own.set_counter("hydragate_worker_restarts_total", self._keeper.restarts)
        own.set_counter("hydragate_worker_hangs_total", sum(w.hangs for w in self._keeper.workers))
        if self._embedded is not None:
            own.set_counter("hydragate_store_restarts_total", self._embedded.restarts)
        if self._watch is not None:
            own.set_counter("hydragate_store_losses_total", self._watch.losses)
        if self._linker is not None:
            own.set_counter("hydragate_linker_restarts_total", self._linker.restarts)
        if self._linker_gauges is not None:
            await self._linker_gauges.tell(own, time.time())
        await tell_of_mode(own, self._directory)
        await tell_of_news(own, self._book)
        return self._metrics.text()

    def _note(
        self, action: str, target: str, *, by: str, reason: str, outcome: str = "done"
    ) -> None:
        """What was done through the admin API, for the record."""
        log.info("audit %s %s", action, target)
        try:
            self._audit.write(action, target, by=by, reason=reason, outcome=outcome)
        except OSError as error:
            log.error("the audit log cannot be written: %s", error)

    async def _readiness(self) -> dict[str, Any]:
        """Ready: every worker serves, a policy is loaded, and the store answers or the policy
        says what to do without it."""
        serving = sum(worker.is_serving for worker in self._keeper.workers)
        try:
            await self._directory.is_shadow_all()
            failure = None if self._watch is None else self._watch.failure
            store = "ok" if failure is None else f"degraded: {failure.kind}"
        except StoreError as error:
            store = f"degraded: {error.kind}"
        policy = self._policies.current
        return {
            "ready": serving == len(self._keeper.workers) > 0 and not self._stopping.is_set(),
            "workers": {"serving": serving, "wanted": len(self._keeper.workers)},
            "store": store,
            "policy": {"name": policy.name, "revision": policy.revision},
        }

    async def _status(self) -> dict[str, Any]:
        return await self._readiness() | {
            "restarts": self._keeper.restarts,
            "pid": os.getpid(),
            "worker_pids": [worker.pid for worker in self._keeper.workers],
            "linker_pid": None if self._linker is None else self._linker.pid,
        }

    async def _reload_policy(self) -> list[Problem]:
        """Checks here; the workers poll the same files and swap within a second."""
        return self._look_at_policy()

    async def _explain(self, decision_id: str) -> dict[str, Any] | None:
        self._look_at_policy()
        self._models.reload_if_changed()
        line = await asyncio.to_thread(find_decision, self._log_dir, decision_id)
        if line is None:
            return None
        account = None
        pseudonym = (line.get("subject") or {}).get("account")
        if pseudonym is not None:
            with contextlib.suppress(StoreError):
                account = await self._directory.account_of(pseudonym)
        models = self._models
        return explain(line, self._policies.current, account, models.current, models.accounts)


async def _tend(left: LeftLogs) -> None:
    """Piece by piece, so that neither packing nor a slow disk holds up the admin port."""
    while True:
        has_more = False
        try:
            has_more = await asyncio.to_thread(left.step)
            if not has_more:
                await asyncio.to_thread(left.forget_old)
        except (OSError, zstandard.ZstdError) as error:
            log.warning("a former worker's log cannot be packed or deleted: %s", error)
        await asyncio.sleep(PACK_PAUSE_S if has_more else LEFT_LOGS_PAUSE_S)


class AdminServer(uvicorn.Server):
    """uvicorn without its own signal handling."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield
