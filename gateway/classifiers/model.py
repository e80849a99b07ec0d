"""The linear model that every classifier is: named features, weights, calibration, a version.

Law: a score is the logistic function of a sum of named contributions, and nothing else; whoever
reads a file of this format can work every score out by hand. One format serves requests, accounts
and clusters: what differs is the `FeatureSet` that a level computes.

    {"format": 1, "features": "request/3", "about": {...},
     "heads": {"grading": {"bias": -4.1, "weights": {"asks_for_a_score": 2.7},
                           "slope": 1.0, "offset": 0.0, "threshold": 0.97}}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import blake2b
from math import isfinite, tanh
from typing import Any

import msgspec

from ..errors import HydragateError

FORMAT = 1
MAX_MODEL_BYTES = 1 << 20
MAX_HEADS = 64
MAX_LOGIT = 30.0  # beyond it a score is 0 or 1 to thirteen digits
DECIMALS = 3  # of a score: the same on every machine
ONE = 10**DECIMALS


class ModelError(HydragateError):
    """A model cannot be used; the message says where, and what to do."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number in 0..1 that a level computes. `words` end "… because it": what a value of 1
    says, for a person who decides about an appeal."""

    name: str
    words: str


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """The features of one level, in the order of its vectors. `name` ends in a number that grows
    whenever a feature comes, goes or changes its meaning: old models are then refused."""

    name: str
    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple([feature.name for feature in self.features])


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature adds to the logit of a score; positive speaks for, negative against."""

    feature: str
    value: float
    logit: float
    words: str


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One score. `slope` and `offset` calibrate the logit (Platt scaling): with them a score of
    0.8 was right four times in five on traffic that the weights were not fitted on. `threshold` is
    the score that 0.1 % of the others reached there; None where nobody measured it."""

    bias: float
    weights: dict[str, float]
    slope: float = 1.0
    offset: float = 0.0
    threshold: float | None = None


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it is written. `about` is for people: what it was trained on, and when."""

    format: int
    features: str
    heads: dict[str, Head]
    about: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class LinearModel:
    """A model that fits its features. `columns` are the weights by feature, one a head, with the
    calibration's slope multiplied in; `start` is the logit of nothing at all."""

    version: str  # 12 hex digits over the file
    features: FeatureSet
    heads: tuple[str, ...]
    thresholds: tuple[float | None, ...]
    start: tuple[float, ...]
    columns: tuple[tuple[float, ...], ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def logits(self, values: Sequence[float]) -> list[float]:
        """Calibrated, one a head; `values` are as many as there are features, 0..1 each."""
        logits = list(self.start)
        for column, value in zip(self.columns, values, strict=True):
            if value:
                logits = [sum_ + w * value for sum_, w in zip(logits, column, strict=True)]
        return logits

    def scores(self, values: Sequence[float]) -> tuple[float, ...]:
        """One a head, 0..1, to `DECIMALS`."""
        return scores_of(self.logits(values))

    def contributions(
        self, head: str, values: Sequence[float], *, most: int = 5
    ) -> tuple[Contribution, ...]:
        """Of the features that are there the `most` that weigh most, the heaviest first."""
        place = self.heads.index(head)
        found = [
            Contribution(feature.name, value, column[place] * value, feature.words)
            for feature, value, column in zip(
                self.features.features, values, self.columns, strict=True
            )
            if value and column[place]
        ]
        found.sort(key=lambda one: (-abs(one.logit), one.feature))
        return tuple(found[:most])


def scores_of(logits: Sequence[float]) -> tuple[float, ...]:
    """Logits as scores in 0..1, to `DECIMALS`."""
    # The logistic function as a hyperbolic tangent, which no logit is too large for.
    half = 0.5 * ONE
    return tuple([int(half + half * tanh(0.5 * logit) + 0.5) / ONE for logit in logits])


def in_words(head: str, score: float, found: Sequence[Contribution]) -> str:
    """One sentence for `explain`: the score and its heaviest contributions, with their logits."""
    reasons = "; ".join(f"{one.words} ({one.logit:+.1f})" for one in found)
    return f"{head.replace('_', ' ')} {score:.2f}" + (f", because it {reasons}" if reasons else "")


def read_model(raw: bytes, features: FeatureSet, where: str) -> LinearModel:
    """The model in `raw`, JSON, for these features. `where` names the file in errors.

    Raises ModelError for what is no model, is too large, or does not fit the features.
    """
    if len(raw) > MAX_MODEL_BYTES:
        raise ModelError(f"{where}: over {MAX_MODEL_BYTES} bytes: no model of ours is that large")
    try:
        found = msgspec.json.decode(raw, type=ModelFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelError(f"{where}: is no model file: {error}") from None
    _check(found, features, where)
    version = blake2b(raw, digest_size=6).hexdigest()
    return _compiled(found, features, version)


def write_model(model: ModelFile) -> bytes:
    """As `read_model` takes it: sorted, indented, so that versions can be compared by line."""
    encoded = msgspec.json.encode(model, order="sorted")
    return msgspec.json.format(encoded, indent=1) + b"\n"


def _check(found: ModelFile, features: FeatureSet, where: str) -> None:
    if found.format != FORMAT:
        raise ModelError(f"{where}: format {found.format}; this version reads format {FORMAT}")
    if found.features != features.name:
        raise ModelError(
            f"{where}: features: it was trained on {found.features}, and this version computes "
            f"{features.name}; train it again with hydragate train"
        )
    if not 0 < len(found.heads) <= MAX_HEADS:
        raise ModelError(f"{where}: heads: from 1 to {MAX_HEADS} are read, not {len(found.heads)}")
    known = frozenset(features.names)
    for name, head in found.heads.items():
        _check_head(name, head, known, where)


def _check_head(name: str, head: Head, known: frozenset[str], where: str) -> None:
    for weight in head.weights:
        if weight not in known:
            near = get_close_matches(weight, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ModelError(f"{where}: heads.{name}.weights.{weight}: no such feature{hint}")
    numbers = [head.bias, head.slope, head.offset, *head.weights.values()]
    if not all(map(isfinite, numbers)) or head.slope <= 0:
        raise ModelError(f"{where}: heads.{name}: numbers must be finite, and slope above 0")


def _compiled(found: ModelFile, features: FeatureSet, version: str) -> LinearModel:
    heads = list(found.heads.values())
    return LinearModel(
        version,
        features,
        tuple(found.heads),
        tuple([head.threshold for head in heads]),
        tuple([head.slope * head.bias + head.offset for head in heads]),
        tuple(
            [
                tuple([head.slope * head.weights.get(name, 0.0) for head in heads])
                for name in features.names
            ]
        ),
        found.about,
    )
