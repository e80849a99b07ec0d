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


# Of the mean score of campaign requests what is left when 3 KB of prose stand around each of their
# texts. Without reading the middle nothing of any was.
LEFT = {"grading": 0.75, "synthesis": 0.65, "cleaning": 0.4, "reasoning_elicitation": 0.25}


@pytest.mark.parametrize("task", LEFT)
def test_padding_on_both_sides_leaves_what_the_docs_say(
    attacked: dict[str, Any], task: str
) -> None:
    plain = attacked["none"][task]["mean"]
    assert attacked["padded around"][task]["mean"] > LEFT[task] * plain


def test_what_the_docs_call_lost_is_lost(attacked: dict[str, Any]) -> None:
    for task in ("probing", "tool_harvesting"):
        assert attacked["padded around"][task]["mean"] < 0.1, task


@pytest.mark.parametrize("where", ["bare", "under one prompt"])
def test_a_language_alone_moves_no_score(where: str) -> None:
    found = drift.languages(load_task_model())[where]
    assert max(found["from_english"][task] for task in TASKS) < 0.005
    for task in TASKS:
        assert found["apart"][task] < 0.05, task


def test_each_task_has_templates_of_several_sources_and_languages() -> None:
    for task in TASKS:
        found = [one for one in entries() if task in one.tasks]
        assert len({one.name for one in found}) >= 3, task
        assert len({one.language for one in found}) >= 3, task
