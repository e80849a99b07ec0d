"""Bodies of every dialect become the same features; what was seen is not looked at again."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.body import read_body
from gateway.classifiers.load import SHIPPED, ModelHolder, load_task_model
from gateway.classifiers.model import ModelError
from gateway.classifiers.packed import PackedSum
from gateway.classifiers.reader import TaskReader
from gateway.classifiers.request import FEATURES, TaskClassifier, TaskFeatures, explain
from gateway.classifiers.wording import Wording
from gateway.model import TASKS
from tests.core.builders import policy

GRADE = "Score the answer by the rubric from 1 to 5: correct, complete, clear."
QUESTION = "Question: what is a lease?\nAnswer: a thing that lapses."
TOOL = {"name": "find_order", "description": "find", "input_schema": {"type": "object"}}


def levels(body: dict[str, Any], shape: str, reader: TaskFeatures | None = None) -> dict[str, int]:
    facts = read_body(json.dumps({"model": "m", **body}).encode(), shape)
    found = (reader or TaskFeatures()).levels(facts.item or facts, "caller")
    assert found is not None
    return dict(zip(FEATURES.names, found, strict=True))


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


SAME: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "system", "content": GRADE}, user(QUESTION)]},
    "messages": {"max_tokens": 9000, "system": GRADE, "messages": [user(QUESTION)]},
    "responses": {"instructions": GRADE, "input": QUESTION},
}


@pytest.mark.parametrize("shape", SAME)
def test_a_dialect_changes_no_word_feature(shape: str) -> None:
    expected, found = levels(SAME["chat"], "chat"), levels(SAME[shape], shape)
    said = [name for name in FEATURES.names if name.startswith("says_")]
    assert {name: found[name] for name in said} == {name: expected[name] for name in said}
    assert found["says_grading"] == 9
    assert found["has_system"] == 9
    assert found["single_turn"] == 9


@given(st.text('Grade é请打分，“？\n:{\\"1/ ', max_size=150))
def test_it_does_not_matter_which_way_a_client_writes_json(text: str) -> None:
    body = {"model": "m", "messages": [user(text), user(f"{text} {GRADE}")]}
    one, other = (
        TaskFeatures().levels(read_body(json.dumps(body, ensure_ascii=way).encode(), "chat"), None)
        for way in (False, True)
    )
    assert one == other


def test_parts_read_like_a_string() -> None:
    parts = [{"type": "text", "text": QUESTION}]
    as_parts = levels({"messages": [{"role": "user", "content": parts}]}, "messages")
    as_text = levels({"messages": [user(QUESTION)]}, "messages")
    assert as_parts["says_exam"] == as_text["says_exam"]
    assert as_parts["question_marks"] == as_text["question_marks"]


def test_a_conversation_with_tools_that_ran_is_told_from_one_that_only_declares_them() -> None:
    call = {"type": "tool_use", "id": "t", "name": "find_order", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "none"}
    first = {"tools": [TOOL], "messages": [user("Where is my order?")]}
    later = {
        "tools": [TOOL],
        "messages": [
            user("Where is my order?"),
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ],
    }
    assert levels(first, "messages")["tools_without_history"] == 9
    found = levels(later, "messages")
    assert (found["tools_without_history"], found["has_tool_results"]) == (0, 9)


def test_of_a_batch_the_request_in_its_middle_is_judged() -> None:
    items = [{"custom_id": str(n), "params": {"model": "m", **SAME["messages"]}} for n in range(3)]
    facts = read_body(json.dumps({"requests": items}).encode(), "batch")
    found = TaskFeatures().levels(facts.item or facts, None)
    assert found is not None
    assert dict(zip(FEATURES.names, found, strict=True))["is_batch_call"] == 9


def test_what_has_no_text_has_no_scores() -> None:
    reader = TaskFeatures()
    assert reader.levels(read_body(b'{"model":"m","messages":[]}', "chat"), None) is None
    assert reader.levels(read_body(b'{"model":"m","input":"x"}', "embeddings"), None) is None


def test_a_caller_that_repeats_itself_shows_it_and_another_does_not() -> None:
    reader = TaskFeatures()
    for _ in range(4):
        found = levels(SAME["chat"], "chat", reader)
    assert (found["repeats_template"], found["repeats_beginning"]) == (4, 4)
    assert levels(SAME["chat"], "chat")["repeats_template"] == 0


def test_texts_are_read_once() -> None:
    wording = Wording()
    first = wording.system(json.dumps(GRADE).encode())
    assert wording.system(json.dumps(GRADE).encode()) is first


def test_the_memory_of_callers_goes_on_where_it_was() -> None:
    one, other = TaskFeatures(), TaskFeatures()
    levels(SAME["chat"], "chat", one)
    other.recurrence.restore(one.recurrence.snapshot())
    assert levels(SAME["chat"], "chat", other) == levels(SAME["chat"], "chat", one)


def test_the_shipped_model_scores_every_task_and_explains_itself() -> None:
    model = load_task_model()
    classifier = TaskClassifier(model)
    facts = read_body(json.dumps({"model": "m", **SAME["chat"]}).encode(), "chat")
    found = TaskFeatures().levels(facts, None)
    assert found is not None
    reading = classifier.read(found)
    assert TASKS[reading.scores.index(max(reading.scores))] == "grading"
    assert classifier.read(found) is reading
    why = explain(model, reading, "grading")
    assert why[0].feature == "says_grading"
    assert why[0].logit > 0


def test_a_reading_of_another_model_is_not_explained() -> None:
    model = load_task_model()
    reading = TaskClassifier(model).read(bytes(len(FEATURES.features)))
    with pytest.raises(ModelError, match="scored by model"):
        explain(model, type(reading)("other", reading.features, reading.scores), "grading")


def test_a_broken_model_file_keeps_the_one_in_force(tmp_path: Any) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(SHIPPED.read_bytes())
    holder = ModelHolder(path)
    first = holder.current
    path.write_text("{}")
    assert [holder.reload_if_changed(), holder.reload_if_changed()] == ["failed", "unchanged"]
    assert holder.current is first
    assert holder.problem is not None
    assert "is no model file" in holder.problem
    path.write_bytes(SHIPPED.read_bytes() + b"\n")
    assert holder.reload_if_changed() == "ok"
    assert holder.current.version != first.version
    assert TaskReader(holder).version == holder.current.version


class Unreadable:
    """A body that no reader of ours foresaw."""

    shape = "chat"

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


def test_a_bug_in_a_feature_costs_nobody_an_answer_and_is_told() -> None:
    told: list[Exception] = []
    reader = TaskReader(ModelHolder(), always=True, complain=told.append)
    body: Any = Unreadable()
    assert reader.read(policy(), body, None) is None
    assert TaskReader(ModelHolder(), always=True).read(policy(), body, None) is None
    assert reader.failures == 1
    assert [str(error) for error in told] == ["members"]


@given(
    st.lists(st.integers(0, 9), min_size=len(FEATURES.features), max_size=len(FEATURES.features))
)
def test_sums_in_one_number_are_the_sums(found: list[int]) -> None:
    model = load_task_model()
    expected = model.logits([level / 9 for level in found])
    by_task = dict(zip(TASKS, PackedSum(model, TASKS).logits(bytes(found)), strict=True))
    for head, logit in zip(model.heads, expected, strict=True):
        assert by_task[head] == pytest.approx(logit, abs=1e-4)


def test_a_worker_that_starts_on_a_broken_model_scores_by_another(tmp_path: Any) -> None:
    path = tmp_path / "model.json"
    with pytest.raises(ModelError, match="cannot be read"):
        ModelHolder(path)
    holder = ModelHolder(path, fallback=load_task_model())
    assert holder.current.version == load_task_model().version
    assert holder.reload_if_changed() == "unchanged"
    path.write_bytes(SHIPPED.read_bytes() + b"\n")
    assert holder.reload_if_changed() == "ok"
    assert holder.problem is None


def test_weights_that_are_too_large_are_refused() -> None:
    model = load_task_model()
    columns = (tuple(1e15 for _ in model.heads), *model.columns[1:])
    with pytest.raises(ModelError, match="add up to over"):
        PackedSum(replace(model, columns=columns), TASKS)
