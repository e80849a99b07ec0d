"""Reports on their way in: to the worker that decided, and there into the engine.

Any worker may be told, since the kernel spreads connections and datagrams over them. A ticket
names the worker that decided; what belongs to another goes on to its Unix socket. Losing a
report costs accuracy only: the lease lapses and the estimate stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgpack
import msgspec

from ...engine import Engine
from .pending import PendingExchanges
from .reports import ReportError, of_envoy, of_nginx, split_ticket, timings_of, usage_of

log = logging.getLogger("hydragate.settling")

MAX_REPORT_BYTES = 65_536
MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_WAITING_BYTES = 4 * 1024 * 1024  # for another worker
SWEEP_EVERY_S = 5.0
ENVOY, NGINX = "envoy", "nginx"
_READ = {ENVOY: of_envoy, NGINX: of_nginx}


class Settling:
    """Of one worker. `counts` are the reports by outcome."""

    def __init__(
        self, engine: Engine, pending: PendingExchanges, *, index: int, folder: Path
    ) -> None:
        self.counts = {"settled": 0, "unknown": 0, "unreadable": 0}
        self._engine = engine
        self._pending = pending
        self._index = index
        self._folder = folder
        self._others: dict[int, asyncio.StreamWriter] = {}

    async def take(self, source: str, told: Mapping[str, Any]) -> None:
        """One report, ours or another worker's. Never raises."""
        try:
            report = _READ[source](told)
            worker, decision_id = split_ticket(report.ticket)
            if worker != self._index:
                await self._hand_on(worker, source, told)
                return
            pending = self._pending.take(decision_id)
            if pending is None:
                self.counts["unknown"] += 1
                return
            self.counts["settled"] += 1
            await self._engine.finish(
                pending.facts,
                pending.decision,
                outcome=report.outcome,
                usage=usage_of(report, pending),
                upstream_status=report.status if report.is_upstreams else None,
                timings=timings_of(report, pending),
            )
        except ReportError as error:
            self.unreadable(error)

    def unreadable(self, error: Exception) -> None:
        self.counts["unreadable"] += 1
        if self.counts["unreadable"] <= 5:
            log.warning("a report of a data plane cannot be read: %s", error)

    async def read_forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """A connection that speaks Fluentd's forward protocol: [tag, [[time, record], …]]."""
        unpacker = msgpack.Unpacker(max_buffer_size=MAX_BATCH_BYTES, raw=False)
        try:
            while data := await reader.read(65_536):
                unpacker.feed(data)
                for message in unpacker:
                    await self._take_batch(message)
        except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
            self.unreadable(error)  # what follows on this connection has no beginning
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _take_batch(self, message: Any) -> None:
        source, entries = message[0], message[1]
        if source not in _READ or not isinstance(entries, list):
            raise ValueError("it is no batch of reports")
        for entry in entries:
            await self.take(source, entry[1])

    async def take_syslog(self, datagram: bytes) -> None:
        """A line that nginx logs over syslog: a header that ends in `hydragate: `, and JSON."""
        _, found, text = datagram.partition(b"hydragate: ")
        try:
            # A model API's bytes may be in it, and need not be UTF-8.
            told = msgspec.json.decode(text.decode(errors="replace")) if found else None
            if not isinstance(told, dict):
                raise ReportError("it is no log line of the format hydragate")
        except (msgspec.MsgspecError, RecursionError, ReportError) as error:
            self.unreadable(error)
            return
        await self.take(NGINX, told)

    async def sweep(self) -> None:
        """For ever: what nobody reported in time is given up."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            await self._pending.sweep(self._engine.clock.now_us())

    async def _hand_on(self, worker: int, source: str, told: Mapping[str, Any]) -> None:
        writer = self._others.get(worker)
        try:
            if writer is None or writer.is_closing():
                path = socket_path(self._folder, worker)
                _, writer = await asyncio.open_unix_connection(str(path))
                self._others[worker] = writer
            if writer.transport.get_write_buffer_size() > MAX_WAITING_BYTES:
                raise ConnectionError("it does not keep up")
            writer.write(msgpack.packb([source, [[0, dict(told)]]]))
        except OSError:  # it died, and its exchanges with it
            self.counts["unknown"] += 1

    def close(self) -> None:
        for writer in self._others.values():
            writer.close()


class SyslogProtocol(asyncio.DatagramProtocol):
    """Datagrams into `Settling.take_syslog`, one task each, bounded."""

    MAX_TASKS = 4_096

    def __init__(self, settling: Settling) -> None:
        self._settling = settling
        self._tasks: set[asyncio.Task[None]] = set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if len(self._tasks) >= self.MAX_TASKS or len(data) > MAX_REPORT_BYTES:
            self._settling.unreadable(ReportError("too much at a time"))
            return
        task = asyncio.ensure_future(self._settling.take_syslog(data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def socket_path(folder: Path, worker: int) -> Path:
    return folder / f"settle-{worker}.sock"


@contextlib.asynccontextmanager
async def listening(
    settling: Settling, *, folder: Path, index: int, tcp: socket.socket, udp: socket.socket
) -> AsyncIterator[None]:
    """Reports are taken for as long as the block lasts. `tcp` and `udp` are bound sockets."""
    path = socket_path(folder, index)
    path.unlink(missing_ok=True)
    loop = asyncio.get_running_loop()
    servers = [
        await asyncio.start_server(settling.read_forward, sock=tcp),
        await asyncio.start_unix_server(settling.read_forward, path=str(path)),
    ]
    transport, _ = await loop.create_datagram_endpoint(lambda: SyslogProtocol(settling), sock=udp)
    sweep = asyncio.create_task(settling.sweep())
    try:
        yield
    finally:
        sweep.cancel()
        transport.close()
        for server in servers:
            server.close()
        settling.close()
