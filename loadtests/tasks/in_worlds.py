"""Scores over a generated world: who scores how, by request and by account, campaigns and classes.

    hydragate generate SCENARIO --kinds --out WORLD

The campaigns' templates are in no corpus that models are trained on. Innocents and campaigns do the
same kinds of work, so a request's text tells them apart only as far as their mixes differ.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...classifiers.model import LinearModel
from ...classifiers.request import TaskClassifier, TaskFeatures
from ...model import TASKS
from ...training.metrics import figures
from ...training.rows import levels_of, routes
from ...workers.feeds import FileFeed
from ...workers.traffic import LoggedRequest
from .corpus import KIND_TASKS

TRAINING_WORK = TASKS[:5]
LEAST_REQUESTS = 10
MOST_LINES = 200_000


def judged_world(model: LinearModel, world: Path) -> dict[str, Any]:
    """AUC of each task's score for its kind of work; of training work (the highest of its five
    scores) between campaigns and innocents, by request and by account; means by class."""
    owners = {one["account_id"]: one for one in _json_lines(world / "labels.jsonl")}
    kinds = {one["line"]: one["kind"] for one in _json_lines(world / "kinds.jsonl")}
    scored = _scores(model, world, kinds)
    by_kind = {}
    for task in TASKS:
        truth = np.array([KIND_TASKS.get(kind, ("",))[0] == task for _, kind, _ in scored])
        values = np.array([scores[TASKS.index(task)] for _, _, scores in scored])
        by_kind[task] = figures(values, truth, 1.0).get("auc")
    work = np.array([max(scores[: len(TRAINING_WORK)]) for _, _, scores in scored])
    ours = np.array([owners[account]["campaign"] is not None for account, _, _ in scored])
    accounts: dict[str, list[float]] = defaultdict(list)
    for (account, _, _), value in zip(scored, work, strict=True):
        accounts[account].append(float(value))
    kept = {name: found for name, found in accounts.items() if len(found) >= LEAST_REQUESTS}
    means = np.array([np.mean(found) for found in kept.values()])
    hostile = np.array([owners[name]["campaign"] is not None for name in kept])
    classes: dict[str, list[float]] = defaultdict(list)
    for name, mean in zip(kept, means, strict=True):
        owner = owners[name]
        classes["campaign" if owner["campaign"] else owner["class"]].append(float(mean))
    return {
        "requests": len(scored),
        "accounts": len(kept),
        "auc_by_task": by_kind,
        "training_work": {
            "by_request": figures(work, ours, 1.0).get("auc"),
            "by_account": figures(means, hostile, 1.0).get("auc"),
            "mean_by_class": {
                name: round(float(np.mean(found)), 3) for name, found in sorted(classes.items())
            },
        },
    }


def _scores(
    model: LinearModel, world: Path, kinds: dict[int, str]
) -> list[tuple[str, str, tuple[float, ...]]]:
    """(account, kind, scores) of the first lines that have a text."""
    reader, classifier, table = TaskFeatures(), TaskClassifier(model), routes()
    decoder = msgspec.json.Decoder(LoggedRequest)
    found = []
    for number, line in enumerate(FileFeed(world / "traffic.jsonl.zst").lines(), 1):
        if number > MOST_LINES:
            break
        request = decoder.decode(line)
        levels = levels_of(request, reader, table)
        if levels is not None:
            kind = kinds.get(number, "")
            found.append((request.account_id, kind, classifier.read(levels).scores))
    return found


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
