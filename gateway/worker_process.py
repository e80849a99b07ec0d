"""A worker as its supervisor sees it: a process, its sockets and its control link."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __name__ as package_name
from .observe.exposition import MetricsAggregate
from .observe.link import SupervisorLink
from .worker import CheckFds, Orders


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
    """One serving process and its control link; `incarnation` grows with every restart."""

    def __init__(
        self, index: int, listener: socket.socket, plane: PlaneSockets | None = None
    ) -> None:
        self.index = index
        self.listener = listener
        self.plane = plane
        self.incarnation = 0
        self.ready = asyncio.Event()  # it has served once
        self.link: SupervisorLink | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def is_serving(self) -> bool:
        return self.link is not None and self.link.ready.is_set()

    async def start(self, orders: dict[str, Any], metrics: MetricsAggregate) -> None:
        self.incarnation += 1
        ours, theirs = socket.socketpair()
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
        theirs.close()
        stdin = self._process.stdin
        if stdin is not None:
            stdin.write(Orders.model_validate(orders).model_dump_json().encode())
            stdin.close()
        self.link = SupervisorLink(metrics, self.index, self.incarnation)
        await self.link.open(ours)

    async def wait(self) -> int:
        """The exit code of its process."""
        if self._process is None or self.link is None:
            return -1
        first = asyncio.create_task(self.link.ready.wait())
        first.add_done_callback(lambda task: None if task.cancelled() else self.ready.set())
        code = await self._process.wait()
        first.cancel()
        return code

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
