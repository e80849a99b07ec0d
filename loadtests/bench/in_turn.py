"""Gateways that differ in one thing, asked in turn in one run: what that thing costs a request.

All stand on one core, the load, the model API and the stores on the other. Only one is asked at a
time, and their order changes from round to round, so that what else the machine does hits all.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import click
import uvloop

from ..driver import LoadResult, Shot, drive
from .rig import Measured

CONNECTIONS = 32
OFF = "off"  # the name of the gateway that the others are compared with


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
