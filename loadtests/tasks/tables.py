"""The tables of docs/classifiers.md, out of what `judge` wrote and the shipped model's own report.

python -m hydragate.loadtests.tasks.tables loadtests/results/2026-11-29-classifier.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from ...classifiers.load import MODELS, load_task_model
from ...model import TASKS
from ...training.train import FIGURES_FILE

Figures = Mapping[str, Any]


def rows(cells: list[list[str]]) -> Iterator[str]:
    """A table in Markdown; the first row is its head."""
    for number, row in enumerate(cells):
        yield f"| {' | '.join(row)} |"
        if number == 0:
            yield "|" + "---|" * len(row)


def by_task(report: Figures, world: Figures | None) -> list[list[str]]:
    """AUC, precision and recall held out, and the AUC in the world that was judged."""
    found = [["Task", "AUC", "Precision", "Recall", "AUC in a generated world"]]
    for task in TASKS:
        one = report["tasks"][task]
        area = None if world is None else world["auc_by_task"].get(task)
        figures = [_number(one[name]) for name in ("auc", "precision", "recall")]
        found.append([task, *figures, _number(area)])
    return found


def left_out(sources: Figures) -> list[list[str]]:
    """Of each real source the highest scores by models that never saw it."""
    found = [["Real source", "Requests", "Label", "Highest score"]]
    for name, one in sorted(sources.items(), key=lambda item: (item[1]["tasks"], item[0])):
        if one["is_real"]:
            highest = [f"{task} {share:.0%}" for task, share in one["highest"].items()]
            found.append(
                [name, str(one["requests"]), ", ".join(one["tasks"]), ", ".join(highest[:2])]
            )
    return found


def false_positives(report: Figures, name: str) -> list[list[str]]:
    """By class or language (`name`), the share of the others over each task's threshold."""
    groups = sorted(report["tasks"][TASKS[0]][name])
    found = [[name.removeprefix("by_"), *TASKS]]
    for group in groups:
        rates = [report["tasks"][task][name][group]["false_positive_rate"] for task in TASKS]
        found.append([group, *("–" if rate is None else f"{rate:.2%}" for rate in rates)])
    return found


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


@click.command()
@click.argument("result", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(result: Path) -> None:
    """Print the tables; exit code 1 where the result is of another model than ships."""
    found = json.loads(result.read_text(encoding="utf-8"))
    report = json.loads((MODELS / FIGURES_FILE).read_text(encoding="utf-8"))
    tables = (
        by_task(report, found["world"]),
        left_out(found["leave_one_source_out"]["sources"]),
        false_positives(report, "by_class"),
        false_positives(report, "by_language"),
    )
    for table in tables:
        click.echo("\n".join(rows(table)) + "\n")
    shipped = load_task_model().version
    if found["model"] != shipped:
        raise click.ClickException(f"{result} is of model {found['model']}; {shipped} ships")


if __name__ == "__main__":
    main()
