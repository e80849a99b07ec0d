"""Everything that is claimed of the request classifier, measured.

    python -m hydragate.loadtests.tasks.judge --data DIR --world DIR --out FILE

Makes the corpus, leaves out one source after another, compares kinds of features and innocent
twins, rewrites requests as an adversary would, and measures the price. A few minutes on one core.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import click

from ...classifiers.load import load_task_model
from ...training.rows import Rows, read_rows
from ...training.train import matrix
from . import cost, drift
from .__main__ import examples, write
from .corpus import Example
from .in_worlds import judged_world
from .leave_out import by_features, by_source, twins
from .padding import order_kept, padded_examples

CAMPAIGNS = Path(__file__).resolve().parents[1] / "campaigns"


def judged(data: Path | None, world: Path | None, seed: int, operators: int) -> dict[str, Any]:
    """All figures, of the shipped model where one model is judged."""
    found = list(examples(seed, data, operators))
    rows, padded = rows_of(found), rows_of(padded_examples(f"{seed}/padded", found))
    reals = frozenset(one.source for one in found if one.corpus == "real")
    values, truths, trains = matrix(rows)
    model = load_task_model()
    return {
        "model": model.version,
        "requests": len(rows.labels),
        "leave_one_source_out": by_source(rows, values, truths, trains, reals),
        "auc_by_features": by_features(rows, values, truths, trains),
        "twins": twins(rows, values, truths, trains),
        "attacks": drift.attacks(model, Random(seed)),
        "auc_under_padding": order_kept(rows, padded),
        "campaigns": drift.paraphrase(model, CAMPAIGNS, Random(seed)),
        "languages": drift.languages(model),
        "cost_us": cost.measured(model, seed),
        "world": None if world is None else judged_world(model, world),
    }


def rows_of(found: Iterable[Example]) -> Rows:
    """As `hydragate train` reads them."""
    with tempfile.TemporaryDirectory() as folder:
        write(found, Path(folder))
        return read_rows(Path(folder) / "traffic.jsonl.gz", Path(folder) / "labels.jsonl.gz")


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--world", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--operators", type=click.IntRange(min=2), default=3, show_default=True)
def main(data: Path | None, world: Path | None, out: Path, seed: int, operators: int) -> None:
    """Judge the request classifier; figures to --out and, in short, to the terminal."""
    found = judged(data, world, seed, operators)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, one in found["leave_one_source_out"]["sources"].items():
        if one["is_real"]:
            click.echo(f"{name:<40}{', '.join(one['tasks']):<24}{one['highest']}")
    for part in ("auc_by_features", "auc_under_padding", "twins", "cost_us", "world"):
        click.echo(json.dumps({part: found[part]}))


if __name__ == "__main__":
    main()
