"""A real server as a child: found, restarted, ended, never left over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import StoreError, UsageError
from gateway.model import Status, Subject
from gateway.stores import open_store
from gateway.stores.embedded import EmbeddedStore

from .steps import charge, gcra

PATIENCE_S = 10.0
CHILD = """
import asyncio, sys
from pathlib import Path
from gateway.stores.embedded import EmbeddedStore

async def main() -> None:
    embedded = EmbeddedStore(Path(sys.argv[1]))
    async with embedded:
        print(embedded.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return not Path("/proc/self").exists()
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_it_serves_on_a_private_socket_and_is_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    embedded = EmbeddedStore(folder)
    async with embedded as url:
        pid = embedded.pid
        assert pid is not None
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "valkey.sock").stat().st_mode) == 0o700
        store = await open_store(url, secret_fingerprint="0", timeout_s=5.0)
        assert (await store.charge(charge(gcra()))).applied
        await store.aclose()
    assert not is_alive(pid)
    assert not (folder / "valkey.sock").exists()


async def test_bans_and_counters_outlive_a_restart(tmp_path: Path) -> None:
    for expected in (None, Status.BANNED):
        async with EmbeddedStore(tmp_path) as url:
            store = await open_store(url, secret_fingerprint="0", timeout_s=5.0)
            found = await store.get("acc_1")
            assert (found and found.status) is expected
            assert (await store.charge(charge(gcra(cost=6)))).applied is (expected is None)
            await store.put(Subject("acc_1", status=Status.BANNED), None)
            await store.aclose()


async def test_a_killed_server_is_started_again_with_what_it_knew(tmp_path: Path) -> None:
    embedded = EmbeddedStore(tmp_path)
    async with embedded as url:
        store = await open_store(url, secret_fingerprint="0", timeout_s=5.0)
        banned = await store.put(Subject("acc_1", status=Status.BANNED), None)
        pid = embedded.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        found = None
        while found is None and time.monotonic() < deadline:
            with contextlib.suppress(StoreError):
                reply = await store.charge(charge(account_id="acc_1", version=1))
                found = reply.subject
            await asyncio.sleep(0.01)
        assert found == banned
        assert embedded.restarts == 1
        assert embedded.pid != pid
        await store.aclose()


async def test_two_gateways_on_one_folder_get_a_clear_error(tmp_path: Path) -> None:
    async with EmbeddedStore(tmp_path):
        with pytest.raises(UsageError, match="in use by another gateway"):
            await EmbeddedStore(tmp_path).__aenter__()
    async with EmbeddedStore(tmp_path):
        pass


async def test_a_folder_with_a_long_name_still_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    async with EmbeddedStore(folder) as url:
        assert len(url) < 100
        store = await open_store(url, secret_fingerprint="0", timeout_s=5.0)
        assert (await store.charge(charge(gcra()))).applied
        await store.aclose()
    assert (folder / "appendonlydir").is_dir()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel does this on Linux only")
def test_a_killed_gateway_takes_its_server_with_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE
    ) as gateway:
        assert gateway.stdout is not None
        pid = int(gateway.stdout.readline())
        assert is_alive(pid)
        gateway.kill()
    wait_until_gone(pid)


@pytest.fixture
def sleepers(tmp_path: Path) -> Iterator[list[int]]:
    """Two processes: one titled like our server, one like somebody else's."""
    stay = "import time; time.sleep(60)"
    titles = f"unixsocket:{tmp_path}/valkey.sock", "valkey-server *:6379"
    started = [subprocess.Popen([sys.executable, "-c", stay, title]) for title in titles]
    yield [process.pid for process in started]
    for process in started:
        process.kill()
        process.wait()


async def test_an_orphan_is_ended_and_a_stranger_with_its_number_is_not(
    tmp_path: Path, sleepers: list[int]
) -> None:
    for pid in sleepers:
        (tmp_path / "valkey.pid").write_text(f"{pid}\n")
        async with EmbeddedStore(tmp_path):
            pass
    assert [is_alive(pid) for pid in sleepers] == [False, True]


async def test_a_server_that_cannot_start_says_where_to_look(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("a file where a folder should be")
    embedded = EmbeddedStore(tmp_path)
    with pytest.raises(UsageError, match=r"valkey\.log"):
        await embedded.__aenter__()
    assert embedded.pid is not None
    assert not is_alive(embedded.pid)
