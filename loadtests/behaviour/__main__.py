"""`python -m hydragate.loadtests.behaviour rows|train|report`: see each one's help."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from ...classifiers import account, cluster
from ...classifiers.load import load_account_model, load_cluster_model
from ...classifiers.model import LinearModel, write_model
from ...training.metrics import Floats
from .rows import read_rows, rows_of, write_rows
from .train import Table, account_table, auc_by_campaign, cluster_table, told
from .train import train as fitted

FILES = click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path)
)
LEVELS = ("account", "cluster")
NOTE = "worlds of this project alone: their campaigns follow public descriptions, not recordings"


@click.group(help=__doc__)
def main() -> None: ...


@main.command()
@click.argument("scenarios", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--policy", type=click.Path(exists=True, path_type=Path), default="policies/observe")
@click.option("--scale", type=float, default=1.0, show_default=True)
@click.option("--days", type=float, help="Only so many days of each.")
@click.option("--seed", type=int, help="Another world of the same kind.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def rows(
    scenarios: tuple[Path, ...],
    policy: Path,
    scale: float,
    days: float | None,
    seed: int | None,
    out: Path,
) -> None:
    """Replay worlds and write the windows of their accounts, one line an account and day."""
    for scenario in scenarios:
        found = rows_of(scenario, policy, scale=scale, days=days, seed=seed)
        click.echo(f"{scenario.stem}: {write_rows(found, out / f'{scenario.stem}.jsonl')} rows")


@main.command()
@FILES
@click.option("--out", type=click.Path(path_type=Path), required=True, help="For the model files.")
@click.option("--trained-on", required=True, help="A date, for the model's `about`.")
def train(files: tuple[Path, ...], out: Path, trained_on: str) -> None:
    """Fit both models to rows; every figure is of campaigns that the weights had not seen."""
    rows = read_rows(files)
    about = {
        "note": NOTE,
        "trained_on": trained_on,
        "worlds": sorted({one.scenario for one in rows}),
    }
    for name, table, features, head in (
        ("account", account_table(rows), account.FEATURES, account.HEAD),
        ("cluster", cluster_table(rows, 1), cluster.FEATURES, cluster.HEAD),
    ):
        found = fitted(table, features, head, about | {"rows": len(table.values)})
        scores, threshold = found.held_out[head], found.model.heads[head].threshold or 1.0
        _tell(f"{name}, held out by campaign and class", table, scores, threshold)
        (out / f"{name}.json").write_bytes(write_model(found.model))


@main.command()
@FILES
@click.option("--models", type=click.Path(exists=True, path_type=Path), help="Else the shipped.")
def report(files: tuple[Path, ...], models: Path | None) -> None:
    """What models say of rows of other worlds: no figure is of a world they were fitted to."""
    rows = read_rows(files)
    chosen = {name: None if models is None else models / f"{name}.json" for name in LEVELS}
    for name, table, model in (
        ("account", account_table(rows), load_account_model(chosen["account"])),
        ("cluster", cluster_table(rows, 1), load_cluster_model(chosen["cluster"])),
    ):
        threshold = model.thresholds[0]
        _tell(f"{name}, other worlds", table, _scores(model, table), threshold or 1.0)


@main.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def clusters(runs: tuple[Path, ...]) -> None:
    """What the score says of clusters that `hydragate replay --windows` found, beside the labels:
    a cluster is a campaign's where most of its accounts are."""
    for run in runs:
        labels = {
            one["account_id"]: one["campaign"]
            for one in map(json.loads, (run / "labels.jsonl").read_text().splitlines())
        }
        click.echo(f"== {run.name}: state, accounts, of them a campaign's, nats, behaviour")
        for line in (run / "clusters.jsonl").read_text().splitlines():
            found = json.loads(line)
            accounts = found["accounts"]
            held = sum(labels[name] is not None for name in accounts)
            score = found["behaviour"]["score"]
            click.echo(
                f"{found['state']:10}{len(accounts):8}{held:8}{found['score']:8.0f}"
                f"{'-' if score is None else format(score, '.3f'):>8}"
            )


def _scores(model: LinearModel, table: Table) -> Floats:
    return np.array([model.scores(values)[0] for values in table.values])


def _tell(title: str, table: Table, scores: Floats, threshold: float) -> None:
    click.echo(f"== {title}; threshold {threshold}")
    click.echo("\n".join(told(table, scores, threshold)))
    if any(table.truths):
        click.echo(f"AUC by campaign: {auc_by_campaign(table, scores)}")


if __name__ == "__main__":
    main()
