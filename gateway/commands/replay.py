"""`hydragate replay`: what a policy would have done with recorded traffic."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import click
import orjson

from ..adapters.geo import GeoHolder, geo_paths
from ..app import open_replay_store
from ..classifiers.load import ModelHolder
from ..classifiers.reader import TaskReader
from ..core.keyed import KeyedHash
from ..errors import UsageError
from ..linking.evidence import all_families
from ..model import SECOND_US
from ..policy.load import load_policy
from ..workers.linking_hook import LinkingHook
from ..workers.replay import REPLAY_SECRET
from ..workers.replay_files import CHECKPOINT_EVERY_S, ReplayPlan, ReplayResult, ReplayRun, Stop
from ..workers.replay_log import replay_log
from .replay_inputs import Asked, Inputs

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
TRAFFIC = click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True)


class FixedPolicy:
    """A policy that does not change on the way."""

    def __init__(self, path: Path) -> None:
        self.current = load_policy(path)


def scenario_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--scenario` and what scales it."""
    for option in (
        click.option("--seed", type=int, help="Instead of the scenario's own seed."),
        click.option("--days", type=click.FloatRange(min=0), help="Only so many days of it."),
        click.option(
            "--scale",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            help="Multiplies its accounts, never the rate of one.",
        ),
        click.option("--scenario", type=FILE, help="Traffic made on the way, by another process."),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--traffic", type=TRAFFIC, help="Traffic log v1 (.jsonl, .gz, .zst), or - for stdin.")
@click.option("--accounts", type=FILE, help="Accounts v1, for --traffic.")
@click.option("--events", type=FILE, help="Account events on the way, for --traffic.")
@scenario_options
@click.option(
    "--decisions",
    type=click.Path(exists=True, path_type=Path),
    help="The gateway's own decision log, a file or folder, to be decided again.",
)
@click.option("--recount", is_flag=True, help="With --decisions: count limits anew in any case.")
@click.option("--policy", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--store", default="memory", show_default=True, help="memory, or a store URL.")
@click.option(
    "--linker-lag-s",
    type=click.FloatRange(min=0.001),
    default=2.0,
    show_default=True,
    help="Event time between evidence and what clusters it leads to.",
)
@click.option("--link/--no-link", "links", default=True, help="Whether accounts are linked.")
@click.option(
    "--windows",
    is_flag=True,
    help="Keep what accounts did of late and score every request, also where the policy asks for "
    "neither; clusters.jsonl then says how each cluster behaves.",
)
@click.option("--model", type=FILE, help="Scores tasks; instead of the model that is shipped.")
@click.option("--geo", type=FILE, multiple=True, help="Address data, before the bundled ones.")
@click.option("--bundled-geo/--no-bundled-geo", default=True, help="Whether those are used.")
@click.option(
    "--without",
    multiple=True,
    metavar="FAMILY",
    help="Link without this family of evidence; again for more.",
)
@click.option(
    "--reorder-s",
    type=click.FloatRange(min=0, max=3600),
    default=0.0,
    show_default=True,
    help="Put lines that come up to so much late (event time) back into their place.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option(
    "--checkpoint-s",
    type=click.FloatRange(min=0),
    default=CHECKPOINT_EVERY_S,
    show_default=True,
    help="Wall time between checkpoints.",
)
@click.option("--json", "as_json", is_flag=True, help="Print summary.json.")
def replay(
    traffic: Path | None,
    accounts: Path | None,
    events: Path | None,
    scenario: Path | None,
    scale: float,
    days: float | None,
    seed: int | None,
    decisions: Path | None,
    recount: bool,
    policy: Path,
    out: Path,
    store: str,
    linker_lag_s: float,
    links: bool,
    windows: bool,
    model: Path | None,
    geo: tuple[Path, ...],
    bundled_geo: bool,
    without: tuple[str, ...],
    reorder_s: float,
    resume: bool,
    checkpoint_s: float,
    as_json: bool,
) -> None:
    """Replay traffic on event time through the real engine; writes decisions and a summary.

    The traffic is a log (--traffic with --accounts), a scenario (--scenario), or what the
    gateway itself has logged (--decisions).
    """
    if [traffic, scenario, decisions].count(None) != 2:
        raise UsageError("say one of --traffic, --scenario and --decisions")
    policies, models = FixedPolicy(policy), ModelHolder(model)
    places = GeoHolder(geo_paths(geo, bundled=bundled_geo))
    out.mkdir(parents=True, exist_ok=True)
    on_progress = _show if sys.stderr.isatty() else None
    if decisions is not None:
        if resume or store != "memory":
            raise UsageError("--decisions begins anew each time, and in memory")
        again = replay_log(
            decisions, out, policies.current, recount_all=recount, on_progress=on_progress
        )
        report(asyncio.run(again), out, as_json=as_json)
        return
    if resume and store != "memory":
        raise UsageError("--resume needs --store memory: a real store has gone on meanwhile")
    plan_with = partial(
        ReplayPlan,
        out=out,
        policies=policies,
        reorder_us=round(reorder_s * SECOND_US),
        lag_us=round(linker_lag_s * SECOND_US),
        hook=linking_hook(without) if links else None,
        geo=places,
        tasks=TaskReader(models, always=windows),
        keeps_windows=windows,
        checkpoint_every_s=checkpoint_s,
    )
    asked = Asked(traffic, accounts, events, scenario, scale, days, seed)
    with asked.open(labels_dir=out) as inputs, stopped_by_signals() as stop:
        run = _run(plan_with, inputs, store, stop=stop, resume=resume, on_progress=on_progress)
        result = asyncio.run(run)
    report(result, out, as_json=as_json)


async def _run(
    plan_with: Callable[..., ReplayPlan],
    inputs: Inputs,
    store: str,
    *,
    stop: Stop,
    resume: bool,
    on_progress: Callable[[int], None] | None,
) -> ReplayResult:
    """`plan_with` knows everything but what it is fed with and where it keeps its counters."""
    async with open_replay_store(store) as opened:
        plan = plan_with(
            feed=inputs.feed,
            accounts=inputs.accounts,
            events=inputs.events,
            identity=inputs.identity,
            store=opened,
        )
        return await ReplayRun(plan, stop=stop).run(resume=resume, on_progress=on_progress)


def linking_hook(without: tuple[str, ...] = ()) -> LinkingHook:
    """A linker with all families but these. Raises UsageError for a family that there is not."""
    unknown = sorted(set(without) - set(all_families()))
    if unknown:
        known = ", ".join(all_families())
        raise UsageError(f"--without {unknown[0]}: no such evidence family; there are {known}")
    families = [name for name in all_families() if name not in without]
    return LinkingHook(KeyedHash(REPLAY_SECRET), families=families)


def report(result: ReplayResult, out: Path, *, as_json: bool) -> None:
    """Problems on stderr, the summary on stdout; exit code 1 for a log that is not usable."""
    for problem in result.problems:
        click.echo(str(problem), err=True)
    if as_json:
        click.echo(orjson.dumps(result.summary, option=orjson.OPT_INDENT_2).decode())
    else:
        _say(result.summary, out)
    if result.is_unusable:
        click.echo(
            "the log is not usable: it is cut, over 1 % of its lines are bad or late, or see above",
            err=True,
        )
        sys.exit(1)


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """SIGINT and SIGTERM end the run at its next line, a second one at once."""
    stop = Stop()
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, _: FrameType | None) -> None:
        stop.is_asked = True
        signal.signal(number, signal.default_int_handler)

    for one in (signal.SIGINT, signal.SIGTERM):
        before[one] = signal.signal(one, ask)
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _show(lines: int) -> None:
    click.echo(f"\r{lines:,} exchanges", nl=False, err=True)


def _say(summary: dict[str, Any], out: Path) -> None:
    click.echo(
        f"{summary['exchanges']:,} exchanges, {summary['refused']:,} refused, "
        f"{summary['exchanges_per_s']:,} a second; results in {out}"
    )
