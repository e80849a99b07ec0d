"""A run's folder, as `hydragate replay` or the live driver leaves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from ...errors import UsageError
from .decisions import read_decisions
from .labels import Labels
from .measure import Run
from .scores import read_clusters
from .tally import HOUR_S, Tally
from .targets import RUNGS

DECISIONS = "decisions.jsonl.gz"
CLUSTERS = "clusters.jsonl"
SUMMARY = "summary.json"
LATENCY = "latency.json"
DAY_S = 86_400
LIVE_BINS = 60
MACHINE_KEYS = ("wall_s", "exchanges_per_s", "peak_memory_bytes", "degraded")


def read_run(
    name: str,
    folder: Path,
    labels: Labels,
    *,
    rung: str = "regimes",
    line_labels: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Run:
    """Tally the run in `folder`. Raises UsageError for a folder that holds no run."""
    if not (folder / DECISIONS).is_file():
        raise UsageError(f"{folder}: no {DECISIONS} in it; is it the --out of a replay?")
    if rung not in RUNGS:
        raise UsageError(f"no rung {rung!r}; there are {', '.join(RUNGS)}")
    latency = _object(folder / LATENCY)
    tally = Tally(labels.groups, bin_s=_bin_s(latency))
    bad = read_decisions(
        folder / DECISIONS, tally, line_labels=line_labels, on_progress=on_progress
    )
    summary = _object(folder / SUMMARY)
    policy = summary.get("policy") or {}
    clusters = folder / CLUSTERS
    return Run(
        name=name,
        tally=tally,
        policy=str(policy.get("name", "?")),
        revision=str(policy.get("revision", "?")),
        rung=rung,
        bad_lines=bad,
        clusters=read_clusters(clusters) if clusters.is_file() else [],
        framed=labels.framed,
        machine={key: summary[key] for key in MACHINE_KEYS if key in summary},
        latency=latency or None,
    )


def _bin_s(latency: dict[str, Any]) -> int:
    """Sixty bins for a live run that is shorter than a day, else an hour."""
    span_s = float(latency.get("seconds", 0)) * float(latency.get("compression", 1))
    return max(1, round(span_s / LIVE_BINS)) if 0 < span_s < DAY_S else HOUR_S


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: must hold a JSON object")
    return found
