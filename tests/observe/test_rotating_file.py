"""The file being written: whole lines only, set aside by size and by age."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.observe.ids import DecisionIds
from gateway.observe.log_archive import Archive
from gateway.observe.rotating_file import RotatingFile

from .test_log import Rotation
from .test_log_archive import Clock


def rotating(folder: Path, clock: Clock, rotation: Rotation) -> RotatingFile:
    archive = Archive(folder, "decisions-0", keep=rotation.keep, clock=clock)
    return RotatingFile(folder / "decisions-0.jsonl", rotation, archive, clock)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """A disk on which a file cannot grow beyond `size_bytes`: the kernel writes what fits and
    says how much that was, then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_write_that_the_disk_takes_only_in_part_leaves_no_part_behind(tmp_path: Path) -> None:
    file = rotating(tmp_path, Clock(), Rotation())
    file.write(b"first\n")
    with room_for(10), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        file.write(b"second\nthird\n")
    file.write(b"fourth\n")
    file.close()
    assert (tmp_path / "decisions-0.jsonl").read_bytes() == b"first\nfourth\n"


def test_what_a_crash_left_half_written_is_glued_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "decisions-0.jsonl").write_bytes(b'{"half')
    file = rotating(tmp_path, Clock(), Rotation())
    file.write(b"whole\n")
    file.close()
    assert (tmp_path / "decisions-0.jsonl").read_bytes() == b'{"half\nwhole\n'


def test_a_full_file_is_set_aside(tmp_path: Path) -> None:
    file = rotating(tmp_path, Clock(), Rotation(max_bytes=10))
    file.write(b"123456789\n")
    file.rotate_if_due()
    assert names(tmp_path) == ["decisions-0.1000000.jsonl"]
    file.write(b"1\n")
    file.rotate_if_due()
    assert names(tmp_path) == ["decisions-0.1000000.jsonl", "decisions-0.jsonl"]
    file.close()


def test_an_old_file_is_set_aside_however_busy_it_is(tmp_path: Path) -> None:
    clock = Clock()
    file = rotating(tmp_path, clock, Rotation(max_age_s=60))
    for _ in range(61):
        file.write(b"line\n")
        file.rotate_if_due()
        clock.now_s += 1
    assert names(tmp_path) == ["decisions-0.1060000.jsonl"]


def test_a_restart_does_not_make_an_old_file_young(tmp_path: Path) -> None:
    clock = Clock()
    first = DecisionIds().new_id(int(clock.now_s * 1e6))
    line = b'{"v":1,"id":"%b"}\n' % first.encode()
    (tmp_path / "decisions-0.jsonl").write_bytes(line)
    clock.now_s += 59
    file = rotating(tmp_path, clock, Rotation(max_age_s=60))
    file.write(line)
    file.rotate_if_due()
    assert names(tmp_path) == ["decisions-0.jsonl"]
    clock.now_s += 1
    file.rotate_if_due()
    assert names(tmp_path) == ["decisions-0.1060000.jsonl"]


def test_a_file_that_cannot_be_set_aside_goes_on_growing(tmp_path: Path) -> None:
    file = rotating(tmp_path, Clock(), Rotation(max_bytes=4))
    file.write(b"one\n")
    (tmp_path / "decisions-0.jsonl").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        file.rotate_if_due()
    file.write(b"two\n")
    file.close()
    assert (tmp_path / "decisions-0.jsonl").read_bytes() == b"two\n"


@pytest.mark.parametrize("gone", ["moved", "deleted"])
def test_a_file_that_another_tool_took_away_is_begun_anew(tmp_path: Path, gone: str) -> None:
    path = tmp_path / "decisions-0.jsonl"
    file = rotating(tmp_path, Clock(), Rotation())
    file.write(b"before\n")
    if gone == "moved":
        path.rename(tmp_path / "decisions-0.jsonl.1")
    else:
        path.unlink()
    file.write(b"after\n")
    file.close()
    assert path.read_bytes() == b"after\n"


def test_a_file_that_another_tool_emptied_goes_on_from_its_beginning(tmp_path: Path) -> None:
    """As logrotate's copytruncate does; then a write that fails is taken back to where it began."""
    path = tmp_path / "decisions-0.jsonl"
    file = rotating(tmp_path, Clock(), Rotation())
    file.write(b"a first line that is long\n")
    os.truncate(path, 0)
    file.write(b"after\n")
    with room_for(10), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        file.write(b"second\nthird\n")
    file.close()
    assert path.read_bytes() == b"after\n"
