"""Servers as child processes: started on free ports, waited for, always stopped."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

READY_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 20.0
ROOT = Path(__file__).resolve().parent.parent
_URL = re.compile(r"https?://[\w.:\[\]-]+")
PACKAGE = __package__.rpartition(".")[0] if __package__ else "gateway"


class ServerProcess:
    """A child that prints a line with its URLs when it is ready; `output` keeps what it said."""

    def __init__(self, command: Sequence[str], *, cpu: int | None = None) -> None:
        self.output: list[str] = []
        self.command = list(command)
        self._lines: queue.Queue[str | None] = queue.Queue()
        if cpu is not None and sys.platform == "linux":
            command = ["taskset", "-c", str(cpu), *command]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def wait_ready(self, word: str) -> list[str]:
        """The URLs of the line that contains `word`. Raises RuntimeError with all it said. Whatever
        ends the wait, Ctrl+C and a signal too, ends the server: nobody else holds it yet."""
        try:
            while True:
                line = self._lines.get(timeout=READY_TIMEOUT_S)
                if line is None:
                    break
                if word in line:
                    return _URL.findall(line)
        except queue.Empty:
            pass
        except BaseException:
            self.stop()
            raise
        self.kill()
        raise RuntimeError("the server did not start:\n" + "".join(self.output))

    def stop(self) -> int:
        """SIGTERM, then SIGKILL; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join(STOP_TIMEOUT_S)
        return int(self.process.wait())

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(STOP_TIMEOUT_S)

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                text = line.decode("utf-8", "replace")
                if len(self.output) < 10_000:
                    self.output.append(text)
                self._lines.put(text)
        self._lines.put(None)


@contextlib.contextmanager
def standin(*options: str, cpu: int | None = None) -> Iterator[str]:
    """The stand-in API's URL for as long as the block lasts."""
    server = ServerProcess(
        [sys.executable, "-m", f"{PACKAGE}.loadtests.standin", "--port", "0", *options], cpu=cpu
    )
    try:
        yield server.wait_ready("standin listening")[0]
    finally:
        server.stop()


class GatewayProcess(ServerProcess):
    """`hydragate serve` on free ports; `url`, `admin` and `token` once it is ready."""

    def __init__(self, data_dir: Path, *options: str, cpu: int | None = None) -> None:
        super().__init__(
            [
                *(sys.executable, "-m", f"{PACKAGE}.cli", "serve"),
                *("--port", "0", "--admin-port", "0", "--data-dir", str(data_dir), *options),
            ],
            cpu=cpu,
        )
        self._data_dir = data_dir
        urls = self.wait_ready("hydragate ready")
        self.url, self.admin = urls[0], urls[-1]

    @property
    def token_file(self) -> Path:
        return self._data_dir / "admin-token"

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()


@contextlib.contextmanager
def gateway(data_dir: Path, *options: str, cpu: int | None = None) -> Iterator[GatewayProcess]:
    server = GatewayProcess(data_dir, *options, cpu=cpu)
    try:
        yield server
    finally:
        server.stop()
