"""A primary, its replica and the Sentinel that watches them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from .valkey import Server, server

READY_TIMEOUT_S = 40.0


@contextlib.contextmanager
def watched_pair(
    folder: Path, *options: str, sentinel_settings: tuple[str, ...] = ()
) -> Iterator[tuple[Server, Server, Server]]:
    """(primary, replica, their Sentinel). `options` go to the first two; `sentinel_settings` are
    lines of the Sentinel's file."""
    with server(folder, *options) as primary:
        of = ("--replicaof", f"127.0.0.1 {primary.port}", "--repl-diskless-sync-delay", "0")
        with server(folder, *options, *of) as replica:
            settings = folder / "sentinel.conf"
            settings.write_text(
                f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
                "sentinel down-after-milliseconds main 300\n"
                "sentinel failover-timeout main 3000\n"
                + "".join(f"{line}\n" for line in sentinel_settings)
            )
            sentinel = Server(folder).as_sentinel(settings)
            try:
                sentinel.start()
                _wait_for_replica(primary, sentinel)
                yield primary, replica, sentinel
            finally:
                sentinel.stop()


def _wait_for_replica(primary: Server, sentinel: Server) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    with primary.client() as at_primary, sentinel.client() as at_sentinel:
        at_primary.config_set("repl-ping-replica-period", 1)
        while time.monotonic() < deadline:
            known = at_sentinel.execute_command("SENTINEL", "REPLICAS", "main")
            state = at_primary.info("replication")
            if known and "online" in str(state.get("slave0", "")):
                return
            time.sleep(0.02)
    raise RuntimeError("the replica did not come online")
