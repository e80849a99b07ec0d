"""The linker as a process of its own: `hydragate linker`, or a child of `serve` and its keeper.

A child reads its orders as one line of JSON on stdin and stops when that pipe closes, so it never
outlives its supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import time

import uvloop
from pydantic import BaseModel

from . import __name__ as package_name
from .app import SystemClock
from .hangup import outlive_hangups
from .linking.linker import Linker
from .observe.process_log import set_up_logging
from .settings import LinkerConfig
from .stores import open_store
from .workers.linker import LinkerProcess, Pace

log = logging.getLogger("hydragate.linker")

RESTART_PAUSE_S = 0.5
MAX_RESTART_PAUSE_S = 30.0
STOP_TIMEOUT_S = 15.0
STORE_TIMEOUT_S = 5.0  # nobody waits for the linker


class LinkerOrders(BaseModel):
    """All that a linker needs; it never sees the secret, only its name."""

    store_url: str
    secret_fingerprint: str
    linker: LinkerConfig


async def lead_or_stand_by(orders: LinkerOrders, stopping: asyncio.Event) -> None:
    """Until told to stop. Raises StoreError when the store does not answer at first."""
    config = orders.linker
    store = await open_store(
        orders.store_url,
        secret_fingerprint=orders.secret_fingerprint,
        timeout_s=STORE_TIMEOUT_S,
    )
    process = LinkerProcess(
        store,
        clock=SystemClock(),
        create=Linker,
        restore=Linker.restore,
        leader=f"{socket.gethostname()}:{os.getpid()}",
        pace=Pace(config.tick_s, config.snapshot_s, config.lease_s),
    )
    try:
        await process.run(stopping)
    finally:
        await store.aclose()


def spare_the_collector() -> None:
    """Millions of small objects that make no cycles: measured, looking through them again and
    again costs a tenth of the CPU."""
    gc.set_threshold(200_000, 20, 100)


async def run(orders: LinkerOrders, *, is_child: bool) -> None:
    outlive_hangups()  # it has no files to look at
    spare_the_collector()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if is_child:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end, loop, stopping)
    await lead_or_stand_by(orders, stopping)


def _stop_at_end(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stopping.set()


class LinkerKeeper:
    """Runs the linker as a child, and again whenever it dies, with a growing pause."""

    def __init__(self, orders: LinkerOrders) -> None:
        self.restarts = 0
        self._orders = orders
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Let it save its state and give its lease back."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            log.error("the linker did not stop in time and was killed")
            process.kill()
            await process.wait()

    async def _keep(self) -> None:
        pause_s = RESTART_PAUSE_S
        while True:
            started_s = time.monotonic()
            try:
                said = f"ended with {await self._run_once()}"
            except OSError as error:  # no descriptor, process or memory is left for it now
                said = f"cannot be started: {error}"
            self.restarts += 1
            log.error("the linker %s; starting it again", said)
            if time.monotonic() - started_s > 60:
                pause_s = RESTART_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_RESTART_PAUSE_S)

    async def _run_once(self) -> int:
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"{package_name}.linker_process",
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl+C reaches the supervisor, which stops it
        )
        if process.stdin is not None:
            with contextlib.suppress(OSError):  # it died at once; its exit code tells
                process.stdin.write(self._orders.model_dump_json().encode() + b"\n")
                await process.stdin.drain()
        return await process.wait()


def main() -> None:
    """As a child."""
    line = b""
    while not line.endswith(b"\n"):  # unbuffered: what follows the line is for the loop to read
        part = os.read(sys.stdin.fileno(), 65_536)
        if not part:
            return
        line += part
    set_up_logging("linker")
    uvloop.run(run(LinkerOrders.model_validate_json(line), is_child=True))


if __name__ == "__main__":
    main()
