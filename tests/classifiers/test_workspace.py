"""Folders and languages of code tell pieces of work apart; nothing else does."""

from __future__ import annotations

import json
from time import process_time

import pytest

from gateway.adapters.body import read_body
from gateway.classifiers.load import ModelHolder
from gateway.classifiers.reader import TaskReader
from gateway.classifiers.text import marks_of
from gateway.classifiers.workspace import workspace_of

from ..core.builders import policy


def of(text: str) -> int:
    ends = json.dumps(text).encode()
    return workspace_of(ends, marks_of(ends))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fix /home/ann/shop/src/a.py", "Then see /home/ann/shop/tests/b.py"),
        ("In /workspace/shop: go on", "cwd: /workspace/shop/lib"),
        (r"Open C:\Users\ann\shop\a.cs", r"and C:\Users\ann\shop\lib\b.cs"),
        ("```python\nprint(1)\n```", "See:\n```Python\nx = 2\n```"),
    ],
    ids=["home", "container", "windows", "language"],
)
def test_the_same_piece_of_work_is_one(one: str, other: str) -> None:
    assert of(one) == of(other) != 0


def test_other_folders_and_languages_are_others() -> None:
    texts = ("/home/ann/shop/x", "/home/ann/site/x", "/home/bob/shop/x", "```go\n", "```rust\n")
    assert len(set(map(of, texts))) == len(texts)


@pytest.mark.parametrize(
    "text", ["and/or", "https://example.org/home/a/b", "/home/ann", "```\nx\n```", "1/2", ""]
)
def test_what_names_no_piece_of_work_is_none(text: str) -> None:
    assert of(text) == 0


def test_a_reading_carries_it_and_the_scores_do_not_change() -> None:
    reader = TaskReader(ModelHolder(), always=True)
    found = []
    for place in ("/home/ann/shop/a.py", "/home/ann/site/a.py"):
        turns = [{"role": "user", "content": f"Tidy {place} please."}]
        body = read_body(json.dumps({"model": "m", "messages": turns}).encode(), "chat")
        reading = reader.read(policy(), body, None)
        assert reading is not None
        found.append(reading)
    assert found[0].workspace != found[1].workspace
    assert found[0].scores == found[1].scores


def test_what_is_made_to_be_slow_is_not() -> None:
    started = process_time()
    for hostile in (b"/home/" * 180, b"/home/a/" * 140, b"C:\\\\" * 270, b"```" * 360, b"/a" * 540):
        for _ in range(20):
            workspace_of(hostile, marks_of(hostile))
    assert process_time() - started < 0.5  # 5 ms each: a thousand times what a text takes
