"""Lines from files and streams, whatever is in them."""

from __future__ import annotations

import gzip
import io
from collections import deque
from pathlib import Path

import pytest
import zstandard

from gateway.errors import UsageError
from gateway.workers.feeds import BrokenFeedError, FileFeed, lines_of
from gateway.workers.traffic import MAX_PROBLEMS, TOO_LONG, LineReader, ReadReport


def test_a_line_over_the_bound_keeps_its_place_and_costs_no_other() -> None:
    log = io.BytesIO(b"one\n" + b"x" * 100 + b"\ntwo\n" + b"y" * 100)
    assert list(lines_of(log, 10)) == [b"one\n", TOO_LONG, b"two\n", TOO_LONG]


def test_a_line_of_just_the_bound_is_whole() -> None:
    assert list(lines_of(io.BytesIO(b"123456789\nend"), 10)) == [b"123456789\n", b"end"]


def test_a_feed_can_be_opened_again_and_is_known_by_what_it_holds(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    one.write_bytes(b"1\n2\n")
    same.write_bytes(b"1\n2\n")
    other.write_bytes(b"1\n3\n")
    feed = FileFeed(one)
    assert list(feed.lines()) == list(feed.lines()) == [b"1\n", b"2\n"]
    assert feed.identity() == FileFeed(same).identity() != FileFeed(other).identity()


def test_a_truncated_archive_gives_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d\n" % n for n in range(100_000)))[:-9])
    lines = FileFeed(path).lines()
    assert next(lines) == b"0\n"
    with pytest.raises(BrokenFeedError, match="the archive is broken here"):
        for _ in lines:
            pass


@pytest.mark.parametrize("cut", [1, 3, 500, 40_000])
def test_frames_of_zstandard_that_are_cut_give_what_came_before(tmp_path: Path, cut: int) -> None:
    """The library's own reader would end there as if that were the end."""
    parts = [b"".join(b"%d,%d\n" % (part, n * n) for n in range(50_000)) for part in (0, 1)]
    frames = [zstandard.compress(part) for part in parts]
    path = tmp_path / "t.jsonl.zst"
    path.write_bytes(b"".join(frames))
    assert b"".join(FileFeed(path).lines()) == b"".join(parts)
    path.write_bytes(b"".join(frames)[:-cut])
    read = bytearray()
    lines = map(read.extend, FileFeed(path).lines())
    with pytest.raises(BrokenFeedError, match="the archive is broken here"):
        deque(lines, maxlen=0)
    assert b"".join(parts).startswith(read)
    assert read.startswith(parts[0])
    assert read.endswith(b"\n")


def test_a_file_that_is_not_there_is_an_error_of_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        FileFeed(tmp_path / "none.jsonl").identity()


def test_complaints_are_kept_up_to_a_bound_and_counted_beyond() -> None:
    report = ReadReport()
    reader = LineReader("log", report)
    for number in range(1, MAX_PROBLEMS + 51):
        assert reader.read(number, b"{}\n") is None
    assert reader.read(999, TOO_LONG) is None
    assert (report.bad, len(report.problems)) == (MAX_PROBLEMS + 51, MAX_PROBLEMS)
    assert report.is_unusable
