"""Sends a scenario through a gateway as HTTP:

python -m hydragate.loadtests.live SCENARIO.yaml --out DIR --policy policies/enforce
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ...errors import HydragateError, UsageError
from .session import prepare, send, serving
from .window import Window, load_scenario

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="Results; emptied first.")
@click.option("--policy", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--from-h", type=float, default=12.0, show_default=True, help="Hour of the world.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=60.0, show_default=True)
@click.option(
    "--compression",
    type=click.FloatRange(1, 10_000),
    default=1.0,
    show_default=True,
    help="World seconds a second; above 1 limits see rates that the world does not have.",
)
@click.option("--scale", type=click.FloatRange(0, 10, min_open=True), default=1.0)
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True)
@click.option("--time-scale", type=float, default=0.05, help="Of the stand-in's answers.")
def main(
    scenario: Path,
    out: Path,
    policy: Path,
    from_h: float,
    seconds: float,
    compression: float,
    scale: float,
    processes: int,
    time_scale: float,
) -> None:
    """Write decisions, labels and latency of a live run into --out, for `hydragate report`."""
    try:
        world, begins_s = load_scenario(scenario, scale=scale)
        window = Window(begins_s + from_h * 3600, seconds, compression)
        prepared = prepare(world, window, out, processes=processes)
        with serving(prepared, policy, time_scale=time_scale) as servers:
            summary = send(
                prepared,
                servers.gateway.url,
                log_folder=out / "data" / "log",
                policy=policy,
                on_progress=_show if sys.stderr.isatty() else None,
            )
    except UsageError as error:
        raise click.UsageError(str(error)) from None
    except HydragateError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{summary['exchanges']:,} exchanges, {summary['by_verdict']}; results in {out}")


def _show(done: int, count: int) -> None:
    click.echo(f"\r{done:,} of {count:,} answers", nl=False, err=True)


if __name__ == "__main__":
    main()
