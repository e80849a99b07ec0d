"""Reading the log while it is written, rotated, packed and damaged."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from gateway.observe.ids import DecisionIds, id_time_us
from gateway.observe.log_archive import Archive
from gateway.observe.log_reader import (
    find_among,
    find_decision,
    log_files,
    read_decisions,
    read_lines,
)

from .test_log import PAST_US, written

ID = DecisionIds().new_id(PAST_US)
LINE = b'{"v":1,"id":"%b"}\n' % ID.encode()
FORMS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("decisions-0.jsonl", bytes),
    ("decisions-0.1.jsonl", bytes),
    ("decisions-0.1.jsonl.gz", gzip.compress),
    ("decisions-0.1.jsonl.zst", zstandard.compress),
]


@pytest.mark.parametrize(("name", "pack"), FORMS, ids=[name for name, _ in FORMS])
def test_a_decision_is_found_in_every_form(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / name).write_bytes(pack(LINE * 3))
    assert find_decision(tmp_path, ID) == {"v": 1, "id": ID}
    assert len(list(read_decisions(tmp_path))) == 3


def test_a_decision_is_found_in_a_file_whose_time_is_a_moment_behind(tmp_path: Path) -> None:
    """Linux stamps files by a clock that moves every few milliseconds only."""
    path = tmp_path / "decisions-0.jsonl"
    path.write_bytes(LINE)
    made_us = id_time_us(ID)
    assert made_us is not None
    os.utime(path, ns=(0, (made_us - 10_000) * 1000))
    assert find_decision(tmp_path, ID) == {"v": 1, "id": ID}


@pytest.mark.parametrize(("name", "pack"), FORMS[2:], ids=[name for name, _ in FORMS[2:]])
def test_a_damaged_archive_costs_no_other_file(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    written(tmp_path, 2)
    packed = bytearray(pack(b'{"id":"x"}\n' * 1000))
    packed[20:60] = b"\xff" * 40
    (tmp_path / name).write_bytes(packed)
    (tmp_path / ("decisions-1" + name[11:])).write_bytes(pack(LINE)[:-6])  # cut short
    assert len([line for line in read_decisions(tmp_path) if line["id"] not in ("x", ID)]) == 2


def test_a_file_packed_between_listing_and_reading_is_read(tmp_path: Path) -> None:
    plain = tmp_path / "decisions-0.1.jsonl"
    plain.write_bytes(LINE)
    archive = Archive(tmp_path, "decisions-0", keep=3)
    while archive.step():
        pass
    assert not plain.exists()
    assert list(read_lines(plain)) == [LINE]
    assert list(read_lines(tmp_path / "decisions-0.7.jsonl")) == []  # gone for good


def test_a_file_rotated_while_others_are_read_is_not_missed(tmp_path: Path) -> None:
    """The listing names `decisions-0.jsonl`; when its turn comes, that is a new file."""
    current = tmp_path / "decisions-0.jsonl"
    current.write_bytes(LINE)
    listed = log_files(tmp_path)
    current.rename(tmp_path / "decisions-0.1.jsonl")
    current.write_bytes(b"{}\n")
    assert find_among(listed, ID) is None
    assert find_decision(tmp_path, ID) == {"v": 1, "id": ID}


def test_what_is_being_packed_and_what_is_no_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "decisions-0.1.jsonl.zst.part").write_bytes(LINE)
    (tmp_path / "decisions-0.jsonl.bak").write_bytes(LINE)
    assert list(read_decisions(tmp_path)) == []
