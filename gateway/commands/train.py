"""`hydragate train`: fit the request classifier to an operator's own labelled traffic."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from ..errors import UsageError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--traffic", type=FILE, required=True, help="Traffic log v1, with bodies.")
@click.option("--labels", type=FILE, required=True, help="JSON Lines: what its lines are for.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--note", default="", help="What it is trained on, for whoever reads the model.")
def train(traffic: Path, labels: Path, out: Path, note: str) -> None:
    """Fit the request classifier to labelled traffic.

    Writes the model (request.json) and beside it a report of how well it does on operators and
    templates that it was not fitted on. Point `classifier.model` at the model to use it.
    """
    try:
        from ..training.rows import read_rows
        from ..training.train import train as run
        from ..training.train import write
    except ImportError as error:
        raise UsageError(
            f"training needs more than serving: pip install 'hydragate[train]' ({error.name})"
        ) from None
    trained = run(
        read_rows(traffic, labels), note=note, trained_on=datetime.now(UTC).date().isoformat()
    )
    write(trained, out)
    for task, found in trained.report["tasks"].items():
        click.echo(
            f"{task:<24}AUC {found['auc']:.3f}   at 0.1 % false positives: precision "
            f"{found['precision'] or 0:.3f}, recall {found['recall'] or 0:.3f}"
        )
    click.echo(f"model {trained.model.version} and its report in {out}")
