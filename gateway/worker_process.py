"""Workers as their supervisor sees them: processes, their sockets and control links; kept alive."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __name__ as package_name
from .errors import UsageError
from .observe.exposition import MetricsAggregate
from .observe.link import SupervisorLink
from .worker import CheckFds, Orders

log = logging.getLogger("hydragate.supervisor")

# A worker speaks once a second. What blocks its loop for good reason (a large policy swapped in, a
# machine short of memory) is over within a few.
LOOK_EVERY_S = 1.0
HUNG_AFTER_LOOKS = 5
KILLED_AFTER_LOOKS = 25
READY_TIMEOUT_S = 30.0
KILL_AFTER_S = 5.0
RESTART_PAUSE_S = 0.5
MAX_RESTART_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class PlaneSockets:
    """One worker's share of the ports for data planes."""

    check: socket.socket
    report_tcp: socket.socket
    report_udp: socket.socket
    folder: Path

    def sockets(self) -> tuple[socket.socket, ...]:
        return (self.check, self.report_tcp, self.report_udp)

    def fds(self) -> CheckFds:
        check, tcp, udp = (one.fileno() for one in self.sockets())
        return CheckFds(check_fd=check, report_tcp_fd=tcp, report_udp_fd=udp, folder=self.folder)


class WorkerProcess:
    """One serving process and its control link; `incarnation` grows with every restart.

    `hangs` counts how often it fell silent while it served.
    """

    def __init__(
        self, index: int, listener: socket.socket, plane: PlaneSockets | None = None
    ) -> None:
        self.index = index
        self.listener = listener
        self.plane = plane
        self.incarnation = 0
        self.hangs = 0
        self.ready = asyncio.Event()  # it has served once
        self.link: SupervisorLink | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._is_hung = False
        self._is_draining = False

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def is_serving(self) -> bool:
        return self.link is not None and self.link.ready.is_set() and not self._is_hung

    async def start(self, orders: dict[str, Any], metrics: MetricsAggregate) -> None:
        """Raises OSError where there is no descriptor, memory or process left for it."""
        self.incarnation += 1
        self._is_hung = False
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                await self._spawn(orders, theirs)
            except BaseException:
                ours.close()
                raise
        self.link = SupervisorLink(metrics, self.index, self.incarnation)
        await self.link.open(ours)

    async def _spawn(self, orders: dict[str, Any], theirs: socket.socket) -> None:
        orders |= {
            "index": self.index,
            "incarnation": self.incarnation,
            "listen_fd": self.listener.fileno(),
            "link_fd": theirs.fileno(),
            "checks": None if self.plane is None else self.plane.fds(),
        }
        inherited = () if self.plane is None else self.plane.sockets()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"{package_name}.worker",
            stdin=subprocess.PIPE,
            pass_fds=(
                self.listener.fileno(),
                theirs.fileno(),
                *(one.fileno() for one in inherited),
            ),
            start_new_session=True,  # Ctrl+C reaches the supervisor, which drains the workers
        )
        stdin = self._process.stdin
        if stdin is not None:
            stdin.write(Orders.model_validate(orders).model_dump_json().encode())
            stdin.close()

    async def wait(self) -> int:
        """The exit code of its process; one that hangs is killed."""
        if self._process is None or self.link is None:
            return -1
        watching = asyncio.create_task(self._watch(self.link))
        code = await self._process.wait()
        watching.cancel()
        return code

    async def _watch(self, link: SupervisorLink) -> None:
        """From its first service to its drain: starting and ending take what they take."""
        await link.ready.wait()
        self.ready.set()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._is_draining or not link.ready.is_set():
                return
            silent_looks = link.look()
            if silent_looks >= KILLED_AFTER_LOOKS:
                log.error("worker %d hangs for good and is killed", self.index)
                self.signal(signal.SIGKILL)
                return
            self._judge(silent_looks)

    def _judge(self, silent_looks: int) -> None:
        was_hung, self._is_hung = self._is_hung, silent_looks >= HUNG_AFTER_LOOKS
        if self._is_hung and not was_hung:
            self.hangs += 1
            log.error(
                "worker %d (pid %s) hangs: nothing heard for %d s; killed after %d",
                self.index,
                self.pid,
                HUNG_AFTER_LOOKS * LOOK_EVERY_S,
                KILLED_AFTER_LOOKS * LOOK_EVERY_S,
            )
        elif was_hung and not self._is_hung:
            log.warning("worker %d answers again", self.index)

    def look_at_files(self) -> None:
        """At once. One that starts is about to read them anyway."""
        if self.link is not None and self.link.ready.is_set():
            self.signal(signal.SIGHUP)

    def drain(self) -> None:
        """It ends once its exchanges have; whoever asks sets the deadline."""
        self._is_draining = True
        self.signal(signal.SIGTERM)

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


class WorkerKeeper:
    """All workers: started, started again whenever one dies, and drained together in the end.

    `restarts` counts those starts again; `stopping` is set once it is told to stop.
    """

    def __init__(
        self, metrics: MetricsAggregate, *, stopping: asyncio.Event, drain_s: float
    ) -> None:
        self.workers: list[WorkerProcess] = []
        self.restarts = 0
        self._metrics = metrics
        self._stopping = stopping
        self._drain_s = drain_s
        self._tasks: list[asyncio.Task[None]] = []

    def start(
        self, listeners: list[socket.socket], planes: list[PlaneSockets], orders: dict[str, Any]
    ) -> None:
        """One worker a listener; `planes` is empty, or has one for each."""
        self.workers = [
            WorkerProcess(i, listener, planes[i] if planes else None)
            for i, listener in enumerate(listeners)
        ]
        self._tasks = [asyncio.create_task(self._keep(worker, orders)) for worker in self.workers]

    async def all_ready(self) -> None:
        """Until each has served once. Raises UsageError when that takes `READY_TIMEOUT_S`."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                for worker in self.workers:
                    await worker.ready.wait()
        except TimeoutError:
            raise UsageError("the workers do not start; the log above says why") from None

    async def stop(self) -> None:
        """Drained for `drain_s` seconds and `KILL_AFTER_S` more, then killed."""
        self._stopping.set()
        for worker in self.workers:
            worker.drain()
        _, late = await asyncio.wait(self._tasks, timeout=self._drain_s + KILL_AFTER_S)
        for worker in self.workers:
            worker.signal(signal.SIGKILL)
        if late:
            log.error("%d workers did not drain in time and were killed", len(late))
            await asyncio.wait(late, timeout=KILL_AFTER_S)

    async def _keep(self, worker: WorkerProcess, orders: dict[str, Any]) -> None:
        """Start the worker, and again whenever it dies, with a growing pause."""
        pause_s = RESTART_PAUSE_S
        while not self._stopping.is_set():
            started = time.monotonic()
            said = await self._run_once(worker, orders)
            if self._stopping.is_set():
                return
            self.restarts += 1
            log.error("worker %d %s; starting it again", worker.index, said)
            if time.monotonic() - started > 60:
                pause_s = RESTART_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_RESTART_PAUSE_S)

    async def _run_once(self, worker: WorkerProcess, orders: dict[str, Any]) -> str:
        """How it ended. What cannot be started now can be later: descriptors, processes and memory
        that ran out come back."""
        try:
            await worker.start(dict(orders), self._metrics)
        except OSError as error:
            return f"cannot be started: {error}"
        return f"ended with {await worker.wait()}"
