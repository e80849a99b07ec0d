"""Rotated files: each line in one readable file at any moment, packed in pieces, kept by count."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard

from gateway.observe.log_archive import PIECE_BYTES, RETRY_S, Archive
from gateway.observe.log_reader import log_files, read_lines


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def archive(folder: Path, *, keep: int = 3, clock: Clock | None = None) -> Archive:
    return Archive(folder, "decisions-0", keep=keep, clock=clock or Clock())


def finished(folder: Path, content: bytes) -> Path:
    path = folder / "decisions-0.jsonl"
    path.write_bytes(content)
    return path


def pack_all(one: Archive) -> int:
    steps = 1
    while one.step():
        steps += 1
    return steps


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines_of(folder: Path) -> list[bytes]:
    return sorted(line for path in log_files(folder) for line in read_lines(path))


def test_a_file_is_packed_a_piece_a_step_and_readable_throughout(tmp_path: Path) -> None:
    lines = [b"%07d\n" % number for number in range(400_000)]  # a little over three pieces
    one = archive(tmp_path)
    one.add(finished(tmp_path, b"".join(lines)))
    assert names(tmp_path) == ["decisions-0.1000000.jsonl"]
    assert one.step()
    assert lines_of(tmp_path) == lines
    assert 1 + pack_all(one) == 400_000 * 8 // PIECE_BYTES + 2
    assert names(tmp_path) == ["decisions-0.1000000.jsonl.zst"]
    assert lines_of(tmp_path) == lines


def test_packing_keeps_the_time_that_readers_go_by(tmp_path: Path) -> None:
    path = finished(tmp_path, b"a\n")
    before_ns = path.stat().st_mtime_ns
    one = archive(tmp_path)
    one.add(path)
    pack_all(one)
    assert log_files(tmp_path)[0].stat().st_mtime_ns == before_ns


def test_files_rotated_within_a_millisecond_sort_as_they_were_made(tmp_path: Path) -> None:
    one = archive(tmp_path)
    for number in range(3):
        one.add(finished(tmp_path, b"%d\n" % number))
    pack_all(one)
    stored = [zstandard.decompress(path.read_bytes(), 10) for path in sorted(tmp_path.iterdir())]
    assert stored == [b"0\n", b"1\n", b"2\n"]


def test_what_is_kept_counts_plain_and_packed_old_and_new_alike(tmp_path: Path) -> None:
    (tmp_path / "decisions-0.5.jsonl.gz").write_bytes(b"by an earlier version")
    (tmp_path / "decisions-1.5.jsonl.gz").write_bytes(b"of another worker")
    one = archive(tmp_path, keep=2)
    one.add(finished(tmp_path, b"1\n"))
    pack_all(one)
    assert "decisions-0.5.jsonl.gz" in names(tmp_path)
    one.add(finished(tmp_path, b"2\n"))
    assert names(tmp_path) == [
        "decisions-0.1000000.jsonl.zst",
        "decisions-0.1000001.jsonl",
        "decisions-1.5.jsonl.gz",
    ]


def test_what_cannot_be_packed_stays_readable_counts_and_is_tried_again(tmp_path: Path) -> None:
    clock = Clock()
    one = archive(tmp_path, keep=2, clock=clock)
    assert not one.step()  # what a crash left behind is cleared away before the disk fills up
    one.add(finished(tmp_path, b"1\n"))
    blocked = tmp_path / "decisions-0.1000000.jsonl.zst.part"
    blocked.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space"):
        pack_all(one)
    assert lines_of(tmp_path) == [b"1\n"]
    assert not one.step()  # not again at once
    clock.now_s += RETRY_S
    pack_all(one)
    assert names(tmp_path) == ["decisions-0.1000000.jsonl.zst"]
    assert lines_of(tmp_path) == [b"1\n"]


def test_files_that_are_never_packed_are_bounded_too(tmp_path: Path) -> None:
    one = archive(tmp_path, keep=2)
    for number in range(5):
        one.add(finished(tmp_path, b"%d\n" % number))
    assert lines_of(tmp_path) == [b"3\n", b"4\n"]


def test_a_start_goes_on_where_a_crash_left_off(tmp_path: Path) -> None:
    first = archive(tmp_path)
    first.add(finished(tmp_path, b"x" * PIECE_BYTES + b"\n"))
    assert first.step()
    (tmp_path / "decisions-0.9.jsonl").write_bytes(b"both forms\n")
    (tmp_path / "decisions-0.9.jsonl.zst").write_bytes(zstandard.compress(b"both forms\n"))
    assert len(lines_of(tmp_path)) == 2  # read once, though it is there twice
    pack_all(archive(tmp_path))
    assert names(tmp_path) == ["decisions-0.1000000.jsonl.zst", "decisions-0.9.jsonl.zst"]
    assert len(lines_of(tmp_path)) == 2
    first.close()


def test_closing_while_packing_leaves_the_plain_file_alone(tmp_path: Path) -> None:
    one = archive(tmp_path)
    one.add(finished(tmp_path, b"x" * PIECE_BYTES + b"\n"))
    assert one.step()
    one.close()
    assert names(tmp_path) == ["decisions-0.1000000.jsonl"]


def test_a_file_that_somebody_removed_ends_nothing(tmp_path: Path) -> None:
    one = archive(tmp_path)
    one.add(finished(tmp_path, b"1\n"))
    (tmp_path / "decisions-0.1000000.jsonl").unlink()
    assert not one.step()
    assert names(tmp_path) == []
