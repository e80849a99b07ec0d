"""`hydragate simulate`: a world that reacts to what a policy refuses."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import orjson

from ..adapters.geo import GeoHolder, geo_paths
from ..classifiers.load import ModelHolder
from ..classifiers.reader import TaskReader
from ..errors import UsageError
from .replay import FixedPolicy, linking_hook, stopped_by_signals

SHIPPED = Path(__file__).resolve().parents[1] / "policies" / "enforce"
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--policy",
    type=click.Path(exists=True, path_type=Path),
    default=SHIPPED,
    help="Instead of the policies/enforce that comes with the package.",
)
@click.option("--script", type=FILE, help="What verifying takes and costs; see friction.yaml.")
@click.option(
    "--scale",
    type=click.FloatRange(0, 10, min_open=True),
    default=1.0,
    show_default=True,
    help="Times the scenario's numbers of accounts; the rate of each stays.",
)
@click.option("--days", type=click.FloatRange(0, 400, min_open=True), help="Instead of its days.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Instead of its seed.")
@click.option(
    "--traffic", "keeps_traffic", is_flag=True, help="Also keep what was sent, as replay reads it."
)
@click.option("--json", "as_json", is_flag=True, help="Print simulation.json.")
def simulate(
    scenario: Path,
    out: Path,
    policy: Path,
    script: Path | None,
    scale: float,
    days: float | None,
    seed: int | None,
    keeps_traffic: bool,
    as_json: bool,
) -> None:
    """Run SCENARIO in a closed loop: its people and operators react to refusals.

    SCENARIO is a file, or the name of one that comes with the package. Every exchange is decided
    as `hydragate replay` decides it, and its sender told before the next is made.
    """
    try:
        from ..loadtests.simulation import Simulation
        from ..loadtests.simulation_figures import page
        from ..loadtests.worlds.load import load_script
        from ..loadtests.worlds.world import load_world
    except ImportError as error:
        raise UsageError(f"simulating needs: pip install 'hydragate[report]' ({error})") from None
    world = load_world(scenario, scale=scale, days=days, seed=seed)
    for warning in world.plan.warnings:
        click.echo(str(warning), err=True)
    said = load_script() if script is None else load_script(script)
    policies = FixedPolicy(policy)
    on_progress = _show if sys.stderr.isatty() else None
    try:
        out.mkdir(parents=True, exist_ok=True)
        simulation = Simulation(
            world,
            said,
            out,
            policies,
            linking_hook(),
            tasks=TaskReader(ModelHolder(None)),
            geo=GeoHolder(geo_paths((), bundled=True)),
            keeps_traffic=keeps_traffic,
        )
        with stopped_by_signals() as stop:
            found = asyncio.run(simulation.run(stop=stop, on_progress=on_progress))
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}: {error.filename or out}") from None
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    else:
        _say(page(found), out)


def _say(lines: Any, out: Path) -> None:
    click.echo("\n".join(lines))
    click.echo(f"results in {out}")


def _show(exchanges: int, share: float) -> None:
    click.echo(f"\r{exchanges:,} exchanges, {share:.0%} of the time", nl=False, err=True)
