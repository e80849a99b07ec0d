"""`hydragate generate`: a scenario's traffic, accounts, events and labels, as files or a stream."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from ..errors import UsageError


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for traffic, accounts, events, labels and scenario.json.",
)
@click.option("--stdout", "to_stdout", is_flag=True, help="Traffic alone, to standard output.")
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
    "--format",
    "form",
    type=click.Choice(["zst", "gz", "jsonl"]),
    default="zst",
    show_default=True,
    help="Of the traffic file.",
)
@click.option("--kinds", is_flag=True, help="Also kinds.jsonl: the kind of task of each line.")
def generate(
    scenario: Path,
    out: Path | None,
    to_stdout: bool,
    scale: float,
    days: float | None,
    seed: int | None,
    form: str,
    kinds: bool,
) -> None:
    """Make the world of SCENARIO: a file, or the name of one that comes with the package."""
    if (out is None) == (not to_stdout):
        raise UsageError("say where it goes: --out DIR for files, --stdout for traffic alone")
    try:
        from ..loadtests.worlds.output import stream_world, write_world
        from ..loadtests.worlds.world import load_world
    except ImportError as error:
        raise UsageError(f"generating needs: pip install 'hydragate[report]' ({error})") from None
    world = load_world(scenario, scale=scale, days=days, seed=seed)
    for warning in world.plan.warnings:
        click.echo(str(warning), err=True)
    progress = _show if sys.stderr.isatty() else None
    try:
        if out is None:
            _stream(stream_world, world, progress)
        else:
            summary = write_world(world, out, form=form, with_kinds=kinds, on_progress=progress)
            _say(summary["counts"], out)
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}: {error.filename or out}") from None


def _stream(stream_world: Any, world: Any, progress: Any) -> None:
    """A reader that has seen enough is no error."""
    try:
        stream_world(world, sys.stdout.buffer, progress)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show(exchanges: int, share: float) -> None:
    click.echo(f"\r{exchanges:,} exchanges, {share:.0%} of the time", nl=False, err=True)


def _say(counts: dict[str, Any], out: Path) -> None:
    parts = ", ".join(f"{n:,} of {name}" for name, n in counts["on_campaign_accounts"].items())
    click.echo(
        f"{counts['exchanges']:,} exchanges of {counts['labels']:,} accounts in {out}"
        + (f" ({parts} on campaign accounts)" if parts else "")
    )
