"""What rewriting does to scores is what the docs say: much or nothing, and never by language."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from gateway.classifiers.load import load_task_model
from gateway.loadtests.tasks import drift
from gateway.loadtests.tasks.corpus import entries
from gateway.model import TASKS


@pytest.fixture(scope="module")
def attacked() -> dict[str, Any]:
    return drift.attacks(load_task_model(), Random(1))


@pytest.mark.parametrize("attack", ["zero-width", "homoglyphs", "capitals"])
def test_hidden_and_look_alike_letters_change_next_to_nothing(
    attacked: dict[str, Any], attack: str
) -> None:
    for task, plain in attacked["none"].items():
        assert attacked[attack][task]["mean"] == pytest.approx(plain["mean"], abs=0.05), task


def test_base64_of_more_than_a_line_hides_next_to_nothing(attacked: dict[str, Any]) -> None:
    for task, plain in attacked["none"].items():
        if task != "probing":  # its questions are a line
            assert attacked["base64"][task]["mean"] == pytest.approx(plain["mean"], abs=0.1), task


def test_what_the_docs_call_lost_is_lost(attacked: dict[str, Any]) -> None:
    assert max(one["mean"] for one in attacked["padded around"].values()) < 0.2


@pytest.mark.parametrize("where", ["bare", "under one prompt"])
def test_a_language_alone_moves_no_score(where: str) -> None:
    found = drift.languages(load_task_model())[where]
    assert max(found["from_english"][task] for task in TASKS) < 0.005
    # What is left is the length of a short question, in any language.
    assert max(found["apart"].values()) < 0.2
    steps = {"grading": 0.061} if where == "under one prompt" else {}
    for task in TASKS[:5]:
        assert found["apart"][task] < steps.get(task, 0.05), task


def test_each_task_has_templates_of_several_sources_and_languages() -> None:
    for task in TASKS:
        found = [one for one in entries() if task in one.tasks]
        assert len({one.name for one in found}) >= 3, task
        assert len({one.language for one in found}) >= 3, task
