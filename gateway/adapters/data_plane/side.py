"""One worker's side of the data planes: the check application, what is open, and the reports."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from ...engine import Engine
from ...settings import ChecksConfig
from ..evidence import Witness
from ..forward import Target
from ..guard import ASGIApp, Receive, Scope, Send
from ..reading import GuardConfig
from .checks import Checks
from .pending import PendingExchanges
from .settling import Settling, listening


class Gauges(Protocol):
    """What of `WorkerMetrics` is used here."""

    def set(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None: ...
    def set_counter(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None: ...


class DataPlaneSide:
    """Built once a worker, where `checks` are configured."""

    def __init__(
        self,
        engine: Engine,
        config: GuardConfig,
        targets: Sequence[Target],
        checks: ChecksConfig,
        *,
        index: int,
        folder: Path,
        witness: Witness | None,
    ) -> None:
        self.pending = PendingExchanges(engine.finish, age_us=int(checks.settle_within_s * 1e6))
        self.settling = Settling(engine, self.pending, index=index, folder=folder)
        self._index = index
        self._folder = folder
        self._port = checks.port
        self._checks = Checks(
            engine=engine,
            config=config,
            targets=targets,
            pending=self.pending,
            index=index,
            witness=witness,
        )

    def beside(self, guard: ASGIApp) -> ASGIApp:
        """The check port's requests to the checks, everybody else's to the guard."""
        port, checks = self._port, self._checks

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await (checks if scope["server"][1] == port else guard)(scope, receive, send)

        return app

    @asynccontextmanager
    async def listening(self, tcp: socket.socket, udp: socket.socket) -> AsyncIterator[None]:
        """Reports are taken; at the end what is still open is closed as unsettled."""
        async with listening(
            self.settling, folder=self._folder, index=self._index, tcp=tcp, udp=udp
        ):
            yield
        await self.pending.give_up_all()

    def report(self, metrics: Gauges) -> None:
        metrics.set("hydragate_pending", len(self.pending))
        for outcome, count in self.settling.counts.items():
            metrics.set_counter("hydragate_settlements_total", count, (outcome,))
