"""`hydragate replay`: what a policy would have done with recorded traffic."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
import orjson

from ..app import open_replay_store
from ..policy.load import load_policy
from ..workers.replay_files import replay_files

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class FixedPolicy:
    """A policy that does not change on the way."""

    def __init__(self, path: Path) -> None:
        self.current = load_policy(path)


@click.command()
@click.option("--traffic", type=FILE, required=True, help="Traffic log v1 (.jsonl, .gz, .zst).")
@click.option("--accounts", type=FILE, required=True, help="Accounts v1.")
@click.option("--policy", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--events", type=FILE, help="Account events on the way.")
@click.option("--store", default="memory", show_default=True, help="memory, or a store URL.")
@click.option(
    "--linker-lag-s",
    type=float,
    default=2.0,
    show_default=True,
    help="Event time between evidence and clusters; without effect until accounts are linked.",
)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json.")
def replay(
    traffic: Path,
    accounts: Path,
    policy: Path,
    out: Path,
    events: Path | None,
    store: str,
    linker_lag_s: float,
    as_json: bool,
) -> None:
    """Replay traffic on event time through the real engine; writes decisions and a summary."""
    out.mkdir(parents=True, exist_ok=True)
    policies = FixedPolicy(policy)

    async def run() -> bool:
        async with open_replay_store(store) as opened:
            result = await replay_files(
                traffic=traffic,
                accounts=accounts,
                out=out,
                store=opened,
                policies=policies,
                events=events,
                on_progress=_show if sys.stderr.isatty() else None,
            )
        for problem in result.problems:
            click.echo(str(problem), err=True)
        if as_json:
            click.echo(orjson.dumps(result.summary, option=orjson.OPT_INDENT_2).decode())
        else:
            _say(result.summary, out)
        return result.is_unusable

    if asyncio.run(run()):
        click.echo("over 1 % of the lines are bad: the log is not usable", err=True)
        sys.exit(1)


def _show(lines: int) -> None:
    click.echo(f"\r{lines:,} exchanges", nl=False, err=True)


def _say(summary: dict[str, object], out: Path) -> None:
    click.echo(
        f"{summary['exchanges']:,} exchanges, {summary['refused']:,} refused, "
        f"{summary['exchanges_per_s']:,} a second; results in {out}"
    )
