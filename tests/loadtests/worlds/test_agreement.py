"""Two-sample tests of drawn against traced traffic, where the traces are present."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gateway.loadtests.worlds import agreement, arrivals, fit, lengths, traces
from gateway.loadtests.worlds.agreement import Comparison

TRACES = Path(
    os.environ.get("HYDRAGATE_TRACES")
    or Path(__file__).resolve().parents[4] / "shared" / "data" / "arrivals"
)
# The largest distance between distribution functions that passes. Per-client quantities have a few
# hundred clients behind them: two samples of one distribution differ by 0.1 at times.
MOST = {
    "requests per client": 0.07,
    "gap variation per client": 0.10,
    "hours around the average day": 0.15,
}
MOST_FOR_LENGTHS = 0.05
# Not fitted, and not met: the service's own clients and their number are unknown. Reported.
NOT_HELD = "gaps of a whole service"

needs_traces = pytest.mark.skipif(
    not (TRACES / traces.CLIENTS).is_file(),
    reason=f"needs {traces.CLIENTS} and its neighbours: set HYDRAGATE_TRACES to their directory",
)


@pytest.fixture(scope="module")
def found() -> dict[str, Comparison]:
    return {one.name: one for one in agreement.comparisons(TRACES)}


@needs_traces
@pytest.mark.parametrize("name", MOST)
def test_clients_are_drawn_as_traced(found: dict[str, Comparison], name: str) -> None:
    assert found[name].distance < MOST[name]
    assert found[name].p_value > 0.01


@needs_traces
def test_lengths_are_drawn_as_traced(found: dict[str, Comparison]) -> None:
    rest = {name: one.distance for name, one in found.items() if name not in MOST}
    rest.pop(NOT_HELD)
    assert len(rest) == 12
    assert max(rest.values()) < MOST_FOR_LENGTHS, rest


@needs_traces
def test_poisson_arrivals_would_fail_where_ours_pass(found: dict[str, Comparison]) -> None:
    source = found["gap variation per client"].source
    clients = traces.client_traces(TRACES)
    drawn = [fit.drawn_log_cv(0.0, fit.some_windows(client)[0], False) for client in clients]
    poisson = Comparison.of("poisson", "", source, np.array(drawn))
    assert poisson.distance > 5 * MOST["gap variation per client"]


@needs_traces
def test_what_is_kept_is_what_the_traces_give() -> None:
    refitted = (fit.fit_arrivals(traces.client_traces(TRACES)), fit.fit_lengths(TRACES))
    kept = (arrivals.load().fit, lengths.load().kinds)
    assert list(numbers(refitted)) == pytest.approx(list(numbers(kept)), abs=2e-3)


def numbers(fitted: object) -> Iterator[float]:
    """Every number in a fit, in order."""
    match fitted:
        case int() | float():
            yield float(fitted)
        case dict():
            for key in sorted(fitted):
                yield from numbers(fitted[key])
        case list() | tuple():
            for part in fitted:
                yield from numbers(part)
        case msgspec.Struct():
            yield from numbers(msgspec.to_builtins(fitted))


def test_samples_of_two_distributions_are_told_apart() -> None:
    rng = np.random.default_rng(1)
    same = Comparison.of("same", "", rng.normal(size=2000), rng.normal(size=2000))
    other = Comparison.of("other", "", rng.normal(size=2000), rng.normal(1.0, size=2000))
    assert same.distance < 0.05 < 0.3 < other.distance
    assert same.p_value > 0.01 > other.p_value
