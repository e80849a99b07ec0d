"""From the folders of runs to the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ...errors import UsageError
from .findings import RunFound
from .labels import read_labels
from .measure import measure
from .page import write_page
from .run_dir import read_run

MOST_RUNS = 5


def build(
    runs: Mapping[str, Path],
    *,
    labels: Path,
    out: Path,
    line_labels: Path | None = None,
    rung: str = "regimes",
    traces: Path | None = None,
    title: str = "What campaigns got, and whom it cost",
    on_progress: Callable[[str, int], None] | None = None,
) -> list[Path]:
    """Read, measure and write; returns the paths written, the page first.

    Runs are read one after the other: only what was found of one is kept. Raises UsageError for
    files that are not what they should be.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise UsageError(f"between 1 and {MOST_RUNS} runs fit on a page, not {len(runs)}")
    known = read_labels(labels)
    found: list[RunFound] = []
    for name, folder in runs.items():
        run = read_run(
            name,
            folder,
            known,
            rung=rung,
            line_labels=line_labels,
            on_progress=None if on_progress is None else partial(on_progress, name),
        )
        found.append(measure(run, known.groups))
    out.mkdir(parents=True, exist_ok=True)
    comparisons = []
    if traces is not None:
        from ..worlds.agreement import comparisons as compare

        comparisons = list(compare(traces))
    return write_page(found, out, title=title, arrivals=comparisons)
