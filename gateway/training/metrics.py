"""How good scores are: figures and curves, from scores of rows that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
CURVE_POINTS = 60
BINS = 10


def threshold_at(scores: Floats, truth: Truths, false_alarms: float) -> float | None:
    """The lowest score to three digits that at most `false_alarms` of the others reach; None
    where all scores are alike. With too few others it is above the highest of them."""
    others = np.sort(scores[~truth])
    if not len(others):
        return None
    allowed = int(false_alarms * len(others))
    reached = float(others[len(others) - 1 - allowed]) if allowed < len(others) else 0.0
    return min(1.0, round(reached + 0.001, 3))


def figures(scores: Floats, truth: Truths, threshold: float) -> dict[str, Any]:
    """None where one side is empty."""
    found: dict[str, Any] = {"positives": int(truth.sum()), "others": int((~truth).sum())}
    flagged = scores >= threshold
    if found["positives"] and found["others"]:
        found["auc"] = round(float(roc_auc_score(truth, scores)), 4)
        found["average_precision"] = round(float(average_precision_score(truth, scores)), 4)
        found["precision"] = _ratio(flagged & truth, flagged)
        found["recall"] = _ratio(flagged & truth, truth)
        found["false_positive_rate"] = _ratio(flagged & ~truth, ~truth)
    return found


def _ratio(part: Truths, whole: Truths) -> float | None:
    return round(float(part.sum() / whole.sum()), 5) if whole.any() else None


def curve(scores: Floats, truth: Truths) -> list[tuple[float, float]]:
    """(recall, precision), thinned to `CURVE_POINTS`."""
    if not truth.any():
        return []
    precision, recall, _ = precision_recall_curve(truth, scores)
    steps = np.unique(np.linspace(0, len(precision) - 1, CURVE_POINTS).astype(int))
    return [(round(float(recall[n]), 4), round(float(precision[n]), 4)) for n in steps]


def calibration(scores: Floats, truth: Truths) -> list[tuple[float, float, int]]:
    """(mean score, share that was right, rows) by tenth of the score."""
    found = []
    for low in range(BINS):
        inside = (scores >= low / BINS) & (scores < (low + 1) / BINS + (low == BINS - 1))
        if inside.any():
            rows = int(inside.sum())
            found.append(
                (
                    round(float(scores[inside].mean()), 4),
                    round(float(truth[inside].mean()), 4),
                    rows,
                )
            )
    return found


def by_name(
    scores: Floats, truth: Truths, names: Sequence[str], threshold: float
) -> dict[str, dict[str, Any]]:
    """For each name (a class, a language, a source): rows, share over the threshold among those
    that are for the task and among the others, mean score."""
    found = {}
    all_names = np.asarray(names)
    for name in sorted(set(names)):
        inside = all_names == name
        flagged = inside & (scores >= threshold)
        found[name] = {
            "rows": int(inside.sum()),
            "positives": int((inside & truth).sum()),
            "recall": _ratio(flagged & truth, inside & truth),
            "false_positive_rate": _ratio(flagged & ~truth, inside & ~truth),
            "mean": round(float(scores[inside].mean()), 4),
        }
    return found
