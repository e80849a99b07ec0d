"""Gateways that differ in one thing, asked in turn in one run: what that thing costs a request.

All stand on one core, the load, the model API and the stores on the other. Only one is asked at a
time, and their order changes from round to round, so that what else the machine does hits all.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import uvloop
import yaml

from ..driver import LoadResult, Shot, drive
from ..processes import gateway, standin
from .rig import MEASURED_CPU, OTHER_CPU, Measured, keys, machine, own_store, status_of

CONNECTIONS = 32
WARM_UP = 8_000  # caches are full, and evidence is sampled as thinly as of any busy account
OFF = "off"  # the name of the gateway that the others are compared with

Settings = Callable[[str, Path], dict[str, Any]]
"""What a gateway of a name is set to, given a folder of its own for its files."""


@contextlib.contextmanager
def gateways(names: Sequence[str], settings: Settings) -> Iterator[list[Measured]]:
    """Gateways with all of `settings`, each on a store of its own, before one model API."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(standin("--fast", cpu=OTHER_CPU))
        found = []
        for name in names:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            config = folder / "config.yaml"
            told = {
                "upstreams": [{"url": upstream}],
                "store": stack.enter_context(own_store(folder)),
                "store_timeout_s": 1.0,  # a store that waits for a core is not broken
                **settings(name, folder),
            }
            config.write_text(yaml.safe_dump(told))
            server = stack.enter_context(
                gateway(folder / "data", "--config", str(config), cpu=MEASURED_CPU)
            )
            pid = status_of(server.admin, server.token)["worker_pids"][0]
            found.append(Measured(name, server.url, pid))
        yield found


def write_accounts(path: Path, facts: Callable[[int], dict[str, Any]]) -> str:
    """Accounts for all keys of the rig; `facts` adds to each by its number."""
    records = [
        {"account_id": f"acc_{number}", "tier": "scale", "keys": [key], **facts(number)}
        for number, key in enumerate(keys())
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def main_of(
    what: str, names: Sequence[str], settings: Settings, wires: Callable[[], Sequence[bytes]]
) -> click.Command:
    """The command of a benchmark; `what` is compared."""

    @click.command(help=f"Requests a second with and without {what}, and the ratios of the pairs.")
    @click.option("--rounds", type=click.IntRange(1, 1000), default=24, show_default=True)
    @click.option("--requests", type=click.IntRange(100, 100_000), default=1_000, show_default=True)
    @click.option("--save", type=click.Path(path_type=Path), help="Write the results as JSON.")
    def main(rounds: int, requests: int, save: Path | None) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {OTHER_CPU})
        with gateways(names, settings) as found:
            compared = compare(found, wires(), warm_up=WARM_UP, rounds=rounds, requests=requests)
        click.echo(json.dumps(compared, indent=2))
        if save is not None:
            save.parent.mkdir(parents=True, exist_ok=True)
            save.write_text(json.dumps({"machine": machine(), what: compared}, indent=2) + "\n")

    return main


def compare(
    gateways: Sequence[Measured], sent: Sequence[bytes], *, warm_up: int, rounds: int, requests: int
) -> dict[str, Any]:
    """Requests a second and CPU of each, and the ratios to `OFF`, by rounds of so many requests.

    Raises click.ClickException when not all is served with 200.
    """
    rates: dict[str, list[float]] = {one.name: [] for one in gateways}
    cpu_us: dict[str, list[float]] = {one.name: [] for one in gateways}
    for measured in gateways:
        _measure(measured, sent, warm_up)
    for number in range(rounds):
        for measured in gateways if number % 2 == 0 else reversed(gateways):
            rate, us = _measure(measured, sent, requests)
            rates[measured.name].append(rate)
            cpu_us[measured.name].append(us)
    others = [one.name for one in gateways if one.name != OFF]
    return {
        "per_s": {name: _spread(found, 0) for name, found in rates.items()},
        "cpu_us_per_request": {name: _spread(found, 1) for name, found in cpu_us.items()},
        "throughput_to_off": {name: _spread(_to_off(rates, name), 3) for name in others},
        "cpu_to_off": {name: _spread(_to_off(cpu_us, name), 3) for name in others},
    }


def _measure(measured: Measured, sent: Sequence[bytes], requests: int) -> tuple[float, float]:
    """(requests a second, CPU microseconds of the gateway a request) of so many requests.

    A number of them and not a time: what the gateway does for the first requests of an account it
    does not do for ever, so those that are compared must have seen equally many.
    """
    before = measured.cpu_s()
    shots = [Shot(0.0, sent[number % len(sent)]) for number in range(requests)]
    result: LoadResult = uvloop.run(drive(measured.url, shots, connections=CONNECTIONS))
    if result.errors or set(result.statuses) != {200}:
        raise click.ClickException(f"{measured.name}: not all was served: {result.as_json()}")
    return requests / result.wall_s, 1e6 * (measured.cpu_s() - before) / requests


def _to_off(found: dict[str, list[float]], name: str) -> list[float]:
    return [with_it / off for with_it, off in zip(found[name], found[OFF], strict=True)]


def _spread(values: list[float], digits: int) -> dict[str, float]:
    shown = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, digits) for name, value in shown.items()}
