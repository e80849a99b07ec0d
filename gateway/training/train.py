"""Trains the request classifier: rows in; a model file, figures and a page out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..classifiers.model import LinearModel, write_model
from ..classifiers.request import FEATURES, read_task_model
from ..classifiers.structure import FULL
from ..errors import UsageError
from ..model import TASKS
from .fit import FOLDS, Fitted, Floats, Truths, fit
from .metrics import by_name, calibration, curve, figures
from .page import render
from .rows import Rows
from .split import folds_of, groups_of

MODEL_FILE = "request.json"
FIGURES_FILE = "request.report.json"
PAGE_FILE = "request.report.html"


@dataclass(frozen=True, slots=True)
class Trained:
    """What one training came to."""

    model: LinearModel
    raw: bytes
    report: dict[str, Any]


def train(rows: Rows, *, note: str, trained_on: str) -> Trained:
    """`note` and `trained_on` (a date) go into the file's `about`. Raises UsageError where there
    is not enough to train on."""
    values, truths, trains = matrix(rows)
    groups = groups_of(rows.column("operator"), rows.column("source"))
    folds = folds_of(groups, rows.column("tasks"), FOLDS)
    about = {"note": note, "trained_on": trained_on, "rows": int(trains.sum())}
    try:
        fitted = fit(values, truths, folds, trains, FEATURES, about=about)
    except ValueError as error:
        raise UsageError(f"not enough labelled requests: {error}") from None
    raw = write_model(fitted.model)
    report = _report(rows, fitted, truths, trains, len(set(groups)))
    return Trained(read_task_model(raw, MODEL_FILE), raw, report)


def matrix(rows: Rows) -> tuple[Floats, dict[str, Truths], Truths]:
    """Values by row and feature, truths by task, and which rows train."""
    if not rows.features:
        raise UsageError("not enough labelled requests: none of them has a text")
    levels = np.frombuffer(b"".join(rows.features), dtype=np.uint8)
    values = levels.reshape(len(rows.features), -1).astype(np.float64) / FULL
    truths = {
        task: np.array([task in label.tasks for label in rows.labels], dtype=bool) for task in TASKS
    }
    trains = np.array([label.use == "train" for label in rows.labels], dtype=bool)
    return values, truths, trains


def _report(
    rows: Rows, fitted: Fitted, truths: dict[str, Truths], trains: Truths, groups: int
) -> dict[str, Any]:
    tasks = {}
    kept = [label for label, is_kept in zip(rows.labels, trains, strict=True) if is_kept]
    for task, truth in truths.items():
        scores, threshold = fitted.held_out[task], fitted.model.heads[task].threshold
        one = 1.0 if threshold is None else threshold
        scores, truth = scores[trains], truth[trains]
        tasks[task] = {
            "threshold": one,
            **figures(scores, truth, one),
            "curve": curve(scores, truth),
            "calibration": calibration(scores, truth),
            "by_class": by_name(scores, truth, [label.who for label in kept], one),
            "by_language": by_name(scores, truth, [label.language for label in kept], one),
            "by_source": by_name(scores, truth, [label.source for label in kept], one),
        }
    return {
        "about": fitted.model.about,
        "features": FEATURES.name,
        "rows": len(rows.labels),
        "skipped": rows.skipped,
        "groups": groups,
        "folds": FOLDS,
        "tasks": tasks,
    }


def write(trained: Trained, out: Path) -> None:
    """The model, its figures and its page, each whole."""
    out.mkdir(parents=True, exist_ok=True)
    (out / FIGURES_FILE).write_bytes(
        msgspec.json.format(msgspec.json.encode(trained.report), indent=0) + b"\n"
    )
    (out / PAGE_FILE).write_text(render(trained.report, trained.model), encoding="utf-8")
    part = out / (MODEL_FILE + ".part")
    part.write_bytes(trained.raw)
    part.replace(out / MODEL_FILE)
