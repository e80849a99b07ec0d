"""Training on a labelled log gives a model that serving can read, and a report beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.classifiers.load import load_task_model
from gateway.errors import UsageError
from gateway.loadtests.tasks.__main__ import examples, write
from gateway.model import TASKS
from gateway.training.rows import read_rows
from gateway.training.train import FIGURES_FILE, MODEL_FILE, PAGE_FILE, train
from gateway.training.train import write as write_model


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    write(examples(3, None, 2), out)
    return out


def test_a_model_tells_tasks_of_unseen_templates_apart(corpus: Path, tmp_path: Path) -> None:
    trained = train(
        read_rows(corpus / "traffic.jsonl.gz", corpus / "labels.jsonl.gz"),
        note="a test",
        trained_on="2026-01-01",
    )
    write_model(trained, tmp_path)
    assert load_task_model(tmp_path / MODEL_FILE).version == trained.model.version
    report = json.loads((tmp_path / FIGURES_FILE).read_text())
    assert set(report["tasks"]) == set(TASKS)
    areas = {task: found["auc"] for task, found in report["tasks"].items()}
    assert min(areas.values()) > 0.7, areas
    assert sum(areas.values()) / len(areas) > 0.9, areas
    page = (tmp_path / PAGE_FILE).read_text()
    assert "<svg" in page
    assert trained.model.version in page


def test_a_label_that_is_no_task_is_named_with_its_line(corpus: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"line": 1, "tasks": ["gradin"]}\n')
    with pytest.raises(UsageError, match=r"labels\.jsonl:1: tasks: no such task: gradin"):
        read_rows(corpus / "traffic.jsonl.gz", labels)


def test_a_label_without_its_line_is_an_error(corpus: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"line": 99999999, "tasks": []}\n')
    with pytest.raises(UsageError, match="line 99999999 is not in"):
        read_rows(corpus / "traffic.jsonl.gz", labels)


def test_too_little_to_train_on_is_an_error(corpus: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"line": 1, "tasks": ["grading"]}\n')
    with pytest.raises(UsageError, match="at least 8 examples"):
        train(read_rows(corpus / "traffic.jsonl.gz", labels), note="", trained_on="")


def test_the_corpus_follows_from_its_seed() -> None:
    def bodies(seed: int) -> list[bytes]:
        found = examples(seed, None, 2)
        return [next(found).body for _ in range(40)]

    assert bodies(5) == bodies(5)
    assert bodies(5) != bodies(6)
