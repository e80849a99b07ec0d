"""What rewriting does to scores is what the docs say: much or nothing, and never by language."""

from __future__ import annotations

import json
from random import Random
from statistics import fmean
from typing import Any

import pytest

from gateway.classifiers.load import load_task_model
from gateway.loadtests.tasks import drift, judge
from gateway.loadtests.tasks.corpus import Example, entries, own_examples
from gateway.loadtests.tasks.padding import order_kept, padded_examples
from gateway.loadtests.tasks.rewriting import rewritten
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
    assert attacked["padded around"]["tool_harvesting"]["mean"] < 0.25
    assert attacked["padded around"]["probing"]["mean"] < 0.01


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return list(own_examples(Random(1), None, operators=2))


def test_what_is_padded_keeps_its_tools_and_all_that_was_said(examples: list[Example]) -> None:
    found = [(one, padded) for one in examples for padded in padded_examples("test", [one])]
    assert {one.path for one, _ in found} == {one.path for one in examples}
    for one, padded in found:
        before, after = json.loads(one.body), json.loads(padded.body)
        assert before.keys() == after.keys()
        assert before.get("tools") == after.get("tools")
        assert len(padded.body) > len(json.dumps(before, ensure_ascii=False).encode()) + 200


def test_a_rewriting_that_changes_nothing_changes_nothing(examples: list[Example]) -> None:
    for one in examples:
        assert json.loads(rewritten(one.body, str)) == json.loads(one.body)


def test_only_operators_and_users_are_rewritten() -> None:
    turns = [
        {"role": "system", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]},
        {"role": "assistant", "content": "a"},
        {"role": "tool", "content": "a"},
    ]
    found = json.loads(rewritten(json.dumps({"messages": turns}).encode(), str.upper))
    assert found["messages"] == [
        {"role": "system", "content": "A"},
        {"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "image"}]},
        *turns[2:],
    ]


def test_padding_hides_less_from_the_order_than_from_the_score() -> None:
    found = list(own_examples(Random(1), None, operators=2))
    areas = order_kept(judge.rows_of(found), judge.rows_of(padded_examples("test", found)))
    assert areas.keys() == set(TASKS)
    assert min(area["padded"] for area in areas.values()) > 0.5
    plain, padded = (fmean(one[name] for one in areas.values()) for name in ("plain", "padded"))
    assert padded < plain < 1.0


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
