"""How fast a world is made: exchanges a second of CPU time, and the memory it takes.

Run: python -m hydragate.loadtests.bench_worlds [SCENARIO …] [--exchanges N] [--scale X]. The
default is a small world of every class and the first day of the full one; the aim is 20,000
exchanges a second on one core for bodies of one to two kilobytes.
"""

from __future__ import annotations

import argparse
import resource
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import process_time

import msgspec

from .worlds.world import load_world

AIM_PER_S = 20_000
DEFAULT = ("smoke", "full")


@dataclass(frozen=True, slots=True)
class Figures:
    """One scenario: seconds of CPU until the first exchange, then the rest of it."""

    scenario: str
    accounts: int
    exchanges: int
    ready_s: float
    per_s: float
    encoded_per_s: float
    body_bytes: float
    peak_mib: float


def measure(scenario: str, *, exchanges: int, scale: float) -> Figures:
    """Make `exchanges` of a scenario, half of them also written as log lines."""
    started = process_time()
    world = load_world(Path(scenario), scale=scale)
    stream = iter(world.exchanges())
    next(stream)
    ready_s = process_time() - started
    started = process_time()
    made = body_bytes = 0
    for request, _ in islice(stream, exchanges // 2):
        made += 1
        body_bytes += len(memoryview(request.body))
    making_s = process_time() - started
    encode = msgspec.json.Encoder().encode
    started = process_time()
    written = sum(1 for request, _ in islice(stream, exchanges // 2) if encode(request))
    return Figures(
        scenario=scenario,
        accounts=world.account_count,
        exchanges=made + written,
        ready_s=ready_s,
        per_s=made / making_s,
        encoded_per_s=written / (process_time() - started),
        body_bytes=body_bytes / max(made, 1),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB_PER_MIB,
    )


_KIB_PER_MIB = 1024 * 1024 if sys.platform == "darwin" else 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=list(DEFAULT))
    parser.add_argument("--exchanges", type=int, default=200_000)
    parser.add_argument("--scale", type=float, default=1.0)
    asked = parser.parse_args()
    print(f"{'scenario':<16}{'accounts':>10}{'made':>10}{'ready s':>9}", end="")
    print(f"{'made/s':>9}{'lines/s':>9}{'body B':>8}{'peak MiB':>10}{'of aim':>8}")
    for scenario in asked.scenarios:
        f = measure(scenario, exchanges=asked.exchanges, scale=asked.scale)
        print(f"{f.scenario:<16}{f.accounts:>10,}{f.exchanges:>10,}{f.ready_s:>9.1f}", end="")
        print(f"{f.per_s:>9,.0f}{f.encoded_per_s:>9,.0f}{f.body_bytes:>8,.0f}", end="")
        print(f"{f.peak_mib:>10,.0f}{f.per_s / AIM_PER_S:>8.2f}")


if __name__ == "__main__":
    main()
