"""Weights and calibration for one score after another: logistic regression, and Platt scaling on
scores of folds that the weights were not fitted on (J. Platt, "Probabilistic outputs for support
vector machines", 1999).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ..classifiers.model import FORMAT, FeatureSet, Head, ModelFile
from .metrics import threshold_at

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
STRENGTH = 0.3  # inverse of the penalty on weights, as scikit-learn counts it
FOLDS = 5
LEAST_EACH = 8  # rows on each side
LEAST_WEIGHT = 0.005
FALSE_ALARMS = 0.001


@dataclass(frozen=True, slots=True)
class Fitted:
    """`held_out` are calibrated scores of each row by head, from weights that never saw the row's
    group; rows that are only evaluated have the final model's."""

    model: ModelFile
    held_out: Mapping[str, Floats]


def fit(
    values: Floats,
    truths: Mapping[str, Truths],
    folds: Sequence[int],
    trains: Truths,
    features: FeatureSet,
    *,
    about: dict[str, Any],
) -> Fitted:
    """One head for each of `truths`; `values` are rows by features, 0..1.

    Raises ValueError where a head has fewer than `LEAST_EACH` rows on a side to train on.
    """
    heads: dict[str, Head] = {}
    scores_of: dict[str, Floats] = {}
    fold_of = np.asarray(folds)
    for name, truth in truths.items():
        if min(int(truth[trains].sum()), int((~truth)[trains].sum())) < LEAST_EACH:
            raise ValueError(f"{name}: at least {LEAST_EACH} examples for and against are needed")
        logits = held_out(values, truth, fold_of, trains)
        slope, offset = _calibration(logits[trains], truth[trains])
        final = _fitted(values[trains], truth[trains])
        weights = dict(zip(features.names, final.coef_[0].tolist(), strict=True))
        scores = 1 / (1 + np.exp(-(slope * logits + offset)))
        heads[name] = Head(
            round(float(final.intercept_[0]), 4),
            {one: round(w, 4) for one, w in weights.items() if abs(w) >= LEAST_WEIGHT},
            slope,
            offset,
            threshold_at(scores[trains], truth[trains], FALSE_ALARMS),
        )
        scores_of[name] = scores
    return Fitted(ModelFile(FORMAT, features.name, heads, about), scores_of)


def _fitted(values: Floats, truth: Truths) -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, max_iter=2_000).fit(values, truth)


def held_out(values: Floats, truth: Truths, folds: NDArray[np.int64], trains: Truths) -> Floats:
    """Logits of each row by weights that never saw its fold; those of rows that do not train come
    from weights without their fold as well, where others are in it, else from all."""
    logits = _fitted(values[trains], truth[trains]).decision_function(values)
    for fold in sorted(set(folds[trains].tolist())):
        inside, outside = folds == fold, trains & (folds != fold)
        if 0 < truth[outside].sum() < outside.sum():
            model = _fitted(values[outside], truth[outside])
            logits[inside] = model.decision_function(values[inside])
    return np.asarray(logits, dtype=np.float64)


def _calibration(logits: Floats, truth: Truths) -> tuple[float, float]:
    """Slope and offset; none where the scores of others say nothing."""
    model = LogisticRegression(C=1e6).fit(logits[:, None], truth)
    slope = float(model.coef_[0, 0])
    if slope <= 0:
        return 1.0, 0.0
    return round(slope, 4), round(float(model.intercept_[0]), 4)
