"""What docs/classifiers.md says of the model is what was measured of the one that ships."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from gateway.classifiers.load import MODELS, load_task_model
from gateway.loadtests.tasks.tables import by_task, false_positives, left_out, main, rows
from gateway.model import TASKS
from gateway.training.train import FIGURES_FILE

ROOT = Path(__file__).resolve().parents[3]
REPORT = json.loads((MODELS / FIGURES_FILE).read_text())
DOCS = (ROOT / "docs/classifiers.md").read_text()


def test_the_docs_name_the_model_that_ships() -> None:
    assert load_task_model().version in DOCS


def test_the_table_of_tasks_is_the_model_s_own_report() -> None:
    table = by_task(REPORT, None)
    assert len(table) == len(TASKS) + 1
    for row in table[1:]:
        assert f"| {' | '.join(row[:4])} |" in DOCS


def test_the_rates_of_languages_are_the_model_s_own_report() -> None:
    for line in rows(false_positives(REPORT, "by_language")):
        assert line in DOCS


def test_real_sources_alone_are_told() -> None:
    one = {"is_real": True, "tasks": ["batch"], "requests": 7, "highest": {"batch": 0.5}}
    table = left_out({"a": one, "b": {**one, "is_real": False}})
    assert table[1:] == [["a", "7", "batch", "batch 50%"]]


def test_a_result_of_another_model_is_said(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    empty: dict[str, object] = {
        "model": "0" * 12,
        "world": None,
        "leave_one_source_out": {"sources": {}},
    }
    result.write_text(json.dumps(empty))
    found = CliRunner().invoke(main, [str(result)])
    assert found.exit_code == 1
    assert f"is of model {'0' * 12}; {load_task_model().version} ships" in found.output
