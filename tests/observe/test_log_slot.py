"""Names for logs of processes that nobody numbers: apart while they live, used again afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.observe.log_slot import take_slot

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from pathlib import Path
from gateway.observe.log_slot import take_slot
print(take_slot(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def child(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_processes_have_names_apart_and_a_new_one_that_of_the_dead(tmp_path: Path) -> None:
    with child(tmp_path) as first, child(tmp_path) as second:
        assert first.stdout is not None
        assert second.stdout is not None
        names = [first.stdout.readline().strip(), second.stdout.readline().strip()]
        assert sorted(names) == ["app0", "app1"]
        assert take_slot(tmp_path) == "app2"
        first.kill()
        first.wait()
        assert take_slot(tmp_path) == names[0]


def test_a_second_engine_of_one_process_has_a_log_of_its_own(tmp_path: Path) -> None:
    assert [take_slot(tmp_path) for _ in range(2)] == ["app0", "app1"]


def test_where_no_name_is_free_it_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert take_slot(tmp_path / "missing").startswith("pid")
    assert [take_slot(tmp_path, most=2)[:3] for _ in range(3)] == ["app", "app", "pid"]
    assert len([r for r in caplog.records if "no number is free" in r.getMessage()]) == 2
