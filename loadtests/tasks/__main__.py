"""`python -m hydragate.loadtests.tasks --out DIR [--data DIR]`: a labelled traffic log to train on.

Writes `traffic.jsonl.gz` (CONTRACTS §2) and `labels.jsonl.gz`, as `hydragate train` reads them.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

import click

from .corpus import Example, own_examples, world_examples
from .sources import EVALUATED_ONLY, real_examples

START_S = 1_780_000_000.0


def examples(seed: int, data_dir: Path | None, operators: int) -> Iterator[Example]:
    """Everything there is, in an order that follows from the seed."""
    yield from own_examples(Random(f"{seed}/own"), data_dir, operators=operators)
    yield from world_examples(Random(f"{seed}/worlds"), data_dir, operators=operators)
    if data_dir is not None:
        yield from real_examples(Random(f"{seed}/real"), data_dir)


def write(found: Iterable[Example], out: Path) -> int:
    """Both files; how many requests they hold."""
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    with (
        gzip.open(out / "traffic.jsonl.gz", "wb", compresslevel=3) as traffic,
        gzip.open(out / "labels.jsonl.gz", "wt", compresslevel=3, encoding="utf-8") as labels,
    ):
        for count, one in enumerate(found, 1):
            traffic.write(line_of(one, START_S + count))
            labels.write(json.dumps(label_of(one, count)) + "\n")
    return count


def line_of(one: Example, ts: float) -> bytes:
    head = {"ts": ts, "account_id": one.account, "method": "POST", "path": one.path, "headers": []}
    return json.dumps(head).encode()[:-1] + b', "body": ' + one.body + b"}\n"


def label_of(one: Example, line: int) -> dict[str, object]:
    return {
        "line": line,
        "tasks": list(one.tasks),
        "operator": one.operator,
        "source": one.source,
        "class": one.who,
        "language": one.language,
        "use": "evaluate" if one.source in EVALUATED_ONLY else "train",
    }


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--operators", type=click.IntRange(min=2), default=4, show_default=True)
def main(out: Path, data: Path | None, seed: int, operators: int) -> None:
    """Write a labelled traffic log of the project's own templates and the prompts in --data."""
    count = write(examples(seed, data, operators), out)
    click.echo(f"{count} requests in {out}")


if __name__ == "__main__":
    main()
