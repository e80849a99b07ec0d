"""`python -m hydragate.loadtests.behaviour rows|train|report`: see each one's help."""

from __future__ import annotations

from pathlib import Path

import click

from .rows import rows_of, write_rows


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


if __name__ == "__main__":
    main()
