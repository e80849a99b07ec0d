"""The table of results is what the kept results say."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.loadtests.results_table import table

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "linking-results.md"
MARKED = re.compile(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", re.DOTALL)
NAMED = re.compile(r"^\| `([a-z0-9-]+)`", re.MULTILINE)


def test_the_table_is_that_of_the_results() -> None:
    marked = MARKED.search(PAGE.read_text())
    assert marked is not None
    folder = ROOT / marked[1]
    files = tuple(folder / f"{name}.json" for name in NAMED.findall(marked[2]))
    assert marked[2].splitlines() == list(table(files))
    assert sorted(files) == sorted(folder.glob("*.json"))
