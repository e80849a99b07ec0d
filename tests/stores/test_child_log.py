"""The embedded store's own log stays small while the store writes to it."""

from __future__ import annotations

from pathlib import Path

import redis

from gateway.stores.child_log import bound_log
from gateway.stores.embedded import EmbeddedStore

SAY = "redis.log(redis.LOG_WARNING, ARGV[1])"


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "valkey.log"
    log.write_bytes(b"a\nb\n")
    bound_log(log, max_bytes=4)
    assert log.read_bytes() == b"a\nb\n"
    assert not (tmp_path / "valkey.log.1").exists()


def test_the_newest_whole_lines_are_kept_beside_it(tmp_path: Path) -> None:
    log = tmp_path / "valkey.log"
    for last in (8, 16):
        log.write_bytes(b"".join(b"line %d\n" % number for number in range(last - 8, last)))
        bound_log(log, max_bytes=20)
        assert log.read_bytes() == b""
        kept = b"line %d\nline %d\n" % (last - 2, last - 1)
        assert (tmp_path / "valkey.log.1").read_bytes() == kept


def test_no_log_and_no_room_end_nothing(tmp_path: Path) -> None:
    log = tmp_path / "valkey.log"
    bound_log(log)
    log.write_bytes(b"x\n" * 100)
    (tmp_path / "valkey.log.1").symlink_to("/dev/full")
    bound_log(log, max_bytes=20)
    assert log.read_bytes() == b""


async def test_a_store_goes_on_writing_at_the_beginning(tmp_path: Path) -> None:
    log = tmp_path / "valkey.log"
    async with EmbeddedStore(tmp_path) as url:
        with redis.Redis(unix_socket_path=url.removeprefix("unix://")) as client:
            for _ in range(200):
                client.eval(SAY, 0, "x" * 100)
            bound_log(log, max_bytes=10_000)
            assert 9_000 < (tmp_path / "valkey.log.1").stat().st_size <= 10_000
            client.eval(SAY, 0, "after")
        written = log.read_bytes()
        assert written.count(b"after") == 1
        assert b"\0" not in written
        assert len(written) < 2_000
