"""How well scores hold on sources that the weights never saw, and what each kind of feature adds.

Leave one source out: every real source, and every template source of ours, is scored by a model
that was trained on all the others. Nothing of a source helps to recognise itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...classifiers.request import FEATURES
from ...model import TASKS
from ...training.fit import FOLDS, Floats, Truths, held_out
from ...training.metrics import figures, threshold_at
from ...training.rows import Rows
from ...training.split import folds_of, groups_of

RATES = (0.001, 0.01)
PAIRS = (  # (task, who asks for it, its innocent twin): how far the score tells them apart
    ("reasoning_elicitation", "campaign", "regulated"),
    ("reasoning_elicitation", "campaign", "education"),
    ("grading", "campaign", "graders"),
    ("synthesis", "campaign", "contract"),
    ("cleaning", "campaign", "accessibility"),
    ("tool_harvesting", "campaign", "agents"),
    ("benchmark", "evaluation", "regulated"),
)
RECURRENCE = 4


def by_source(
    rows: Rows, values: Floats, truths: Mapping[str, Truths], trains: Truths, reals: frozenset[str]
) -> dict[str, Any]:
    """Scores of all rows by models without the row's source, and what they come to. The figures
    of tasks are over the real sources alone; so are the thresholds."""
    sources = np.asarray(rows.column("source"))
    names = sorted(set(sources.tolist()))
    folds = np.array([names.index(name) for name in sources.tolist()])
    is_real = np.array([name in reals for name in sources.tolist()])
    scores = {
        task: 1 / (1 + np.exp(-held_out(values, truth, folds, trains)))
        for task, truth in truths.items()
    }
    tasks = {}
    for task, truth in truths.items():
        one, real = scores[task][is_real], truth[is_real]
        tasks[task] = {"auc": None} if not real.any() else _at_rates(one, real)
    highest = np.argmax(np.stack([scores[task] for task in TASKS]), axis=0)
    found = {}
    for name in names:
        inside = sources == name
        labels = {task for n in np.flatnonzero(inside) for task in rows.labels[int(n)].tasks}
        top = [TASKS[n] for n in highest[inside]]
        counted = sorted(((top.count(task), task) for task in set(top)), reverse=True)
        found[name] = {
            "requests": int(inside.sum()),
            "tasks": sorted(labels),
            "is_real": name in reals,
            "highest": {task: round(count / len(top), 3) for count, task in counted[:3]},
            "mean": {task: round(float(scores[task][inside].mean()), 3) for task in TASKS},
        }
    return {"tasks": tasks, "sources": found}


def _at_rates(scores: Floats, truth: Truths) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for rate in RATES:
        at = figures(scores, truth, threshold_at(scores, truth, rate) or 1.0)
        found["auc"] = at["auc"]
        found[f"at {rate:.1%}"] = {name: at[name] for name in ("precision", "recall")}
    return found


def by_features(
    rows: Rows, values: Floats, truths: Mapping[str, Truths], trains: Truths
) -> dict[str, dict[str, float]]:
    """AUC of each task by kind of feature, operators and template sources held out."""
    groups = groups_of(rows.column("operator"), rows.column("source"))
    folds = np.asarray(folds_of(groups, rows.column("tasks"), FOLDS))
    found: dict[str, dict[str, float]] = {}
    for name, columns in _kinds():
        part = values[:, columns]
        found[name] = {}
        for task, truth in truths.items():
            scores = held_out(part, truth, folds, trains)
            found[name][task] = figures(scores[trains], truth[trains], 1.0)["auc"]
    return found


def _kinds() -> Iterator[tuple[str, list[int]]]:
    """Names of features by where they come from, as positions."""
    count = len(FEATURES.features)
    words = [n for n, name in enumerate(FEATURES.names) if name.startswith("says_")]
    repeats = list(range(count - RECURRENCE, count))
    others = [n for n in range(count) if n not in words and n not in repeats]
    yield "structure", others
    yield "words", words
    yield "structure and words", others + words
    yield "all", list(range(count))


def twins(
    rows: Rows, values: Floats, truths: Mapping[str, Truths], trains: Truths
) -> list[dict[str, Any]]:
    """For each pair: AUC of the task's score between its campaigns and the innocents, held out."""
    groups = groups_of(rows.column("operator"), rows.column("source"))
    folds = np.asarray(folds_of(groups, rows.column("tasks"), FOLDS))
    who = np.asarray(rows.column("who"))
    found = []
    for task, one, other in PAIRS:
        scores = held_out(values, truths[task], folds, trains)
        first = trains & (who == one) & truths[task]
        second = trains & (who == other)
        inside = first | second
        area = figures(scores[inside], first[inside], 1.0).get("auc")
        found.append({"task": task, "campaign": one, "twin": other, "auc": area})
    return found
