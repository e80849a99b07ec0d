"""Logs of workers that are no more."""

from __future__ import annotations

from pathlib import Path

from gateway.observe.log_left import LeftLogs
from gateway.observe.log_reader import log_files, read_lines


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(f'{{"file":"{name}"}}\n')


def names(folder: Path, worker: int) -> set[str]:
    return {path.name for path in folder.glob(f"decisions-{worker}.*")}


def lines(folder: Path) -> int:
    return sum(len(list(read_lines(path))) for path in log_files(folder))


def test_what_was_being_written_is_set_aside_and_packed_and_can_still_be_read(
    tmp_path: Path,
) -> None:
    write(tmp_path, "decisions-0.jsonl", "decisions-3.jsonl", "decisions-3.1000.jsonl")
    left = LeftLogs(tmp_path, workers=2, keep=5)
    assert left.set_aside() == 1
    while left.step():
        pass
    assert names(tmp_path, 0) == {"decisions-0.jsonl"}
    assert "decisions-3.1000.jsonl.zst" in names(tmp_path, 3)
    assert all(name.endswith(".jsonl.zst") for name in names(tmp_path, 3))
    assert lines(tmp_path) == 3


def test_it_goes_when_the_serving_workers_keep_nothing_as_old(tmp_path: Path) -> None:
    write(tmp_path, "decisions-1.1000.jsonl", "decisions-1.4000.jsonl", "decisions-0.2000.jsonl")
    left = LeftLogs(tmp_path, workers=1, keep=2)
    left.set_aside()
    left.forget_old()
    assert len(names(tmp_path, 1)) == 2  # worker 0 has room: it would still keep what is older
    write(tmp_path, "decisions-0.3000.jsonl")
    left.forget_old()
    assert names(tmp_path, 1) == {"decisions-1.4000.jsonl"}


def test_a_slow_worker_among_the_serving_decides_how_far_back_the_log_goes(tmp_path: Path) -> None:
    write(tmp_path, "decisions-0.2000.jsonl", "decisions-0.3000.jsonl")
    write(tmp_path, "decisions-1.500.jsonl", "decisions-1.600.jsonl", "decisions-7.1000.jsonl")
    left = LeftLogs(tmp_path, workers=2, keep=2)
    left.set_aside()
    left.forget_old()
    assert names(tmp_path, 7) == {"decisions-7.1000.jsonl"}


def test_nobody_elses_files_are_touched(tmp_path: Path) -> None:
    others = ("decisions-app0.1000.jsonl", "decisions-app0.jsonl", "notes.txt", "decisions-0.jsonl")
    write(tmp_path, *others)
    left = LeftLogs(tmp_path, workers=1, keep=1)
    assert left.set_aside() == 0
    left.forget_old()
    assert {path.name for path in tmp_path.iterdir()} == set(others)
