"""Two-sample comparisons of what is drawn with the traces it was fitted to.

Used by the tests, with thresholds, and by the report, with quantile plots. The traces' samples are
large, so that the test's p-value is about size as much as about fit: the distance D (the largest
gap between the two distribution functions, 0 to 1) is what to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

from . import arrivals, fit, lengths, traces
from .arrivals import DAY_S, Fleet, Pace
from .copula import Floats
from .traces import ClientTrace

SEED = 20_260_101
MIN_GAPS = 10
# Exchanges drawn for one comparison of lengths, and clients for one of rates.
DRAWS = 20_000
CLIENTS = 4000
MOST_PER_DAY = 5000.0
HOURS = 24 * fit.DAYS


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two samples of one quantity, and how far apart they are."""

    name: str
    unit: str
    source: Floats
    drawn: Floats
    distance: float  # Kolmogorov-Smirnov D
    p_value: float

    @classmethod
    def of(cls, name: str, unit: str, source: Floats, drawn: Floats) -> Comparison:
        """Compare two samples, neither of them empty."""
        result = ks_2samp(source, drawn)
        return cls(name, unit, source, drawn, float(result.statistic), float(result.pvalue))


def comparisons(directory: Path) -> Iterator[Comparison]:
    """Every comparison that the traces in `directory` allow."""
    clients = traces.client_traces(directory)
    yield rates(clients)
    yield window_cvs(clients)
    yield hour_noise(clients)
    yield code_gaps(directory)
    yield from token_lengths(directory)


def rates(clients: list[ClientTrace]) -> Comparison:
    """Per-client rates, each relative to the others of its model (source) or draw."""
    drawn = arrivals.load().clients(CLIENTS, np.random.default_rng(SEED), mean_per_day=100)
    logs = np.log([pace.mean_per_day for pace in drawn])
    scores = (logs - logs.mean()) / logs.std()
    source = fit.standardised_log_rates(clients)
    return Comparison.of("requests per client", "log rate, standard units", source, scores)


def window_cvs(clients: list[ClientTrace]) -> Comparison:
    """Burstiness: the variation of gaps within ten minutes, mean over a client's windows.

    Drawn accounts send as many requests in each window as the traced client did, so that both
    sides are estimated from as many gaps.
    """
    rng = np.random.default_rng(SEED)
    source, drawn = [], []
    paces = arrivals.load().clients(len(clients), rng, mean_per_day=100)
    for client, pace in zip(clients, paces, strict=True):
        counts, cvs = fit.some_windows(client)
        source.append(np.log(cvs).mean())
        drawn.append(_mean_log_cv(pace, counts, rng))
    return Comparison.of(
        "gap variation per client", "log CV in ten minutes", np.array(source), np.array(drawn)
    )


def _mean_log_cv(pace: Pace, counts: Floats, rng: np.random.Generator) -> float:
    flat = replace(pace, hours=(1.0,) * 24, weekend=1.0, hour_noise=0.0)
    windows = [replace(flat, mean_per_day=n * DAY_S / traces.WINDOW_S) for n in counts]
    owners, times = Fleet(windows).times(rng, 0.0, traces.WINDOW_S)
    logs = []
    for i in range(len(windows)):
        gaps = np.diff(times[owners == i])
        if len(gaps) >= MIN_GAPS and gaps.mean() > 0:
            logs.append(np.log(max(gaps.std() / gaps.mean(), fit.LEAST_CV)))
    return float(np.mean(logs)) if logs else 0.0


def hour_noise(clients: list[ClientTrace]) -> Comparison:
    """How far the hours of a client stray from its own average day, over fourteen days."""
    steady = [client for client in clients if fit.is_well_observed(client)]
    source = [fit.hour_noise_cv(client) for client in steady]
    rng = np.random.default_rng(SEED)
    drawn = [
        # As many requests as the traced client, up to a bound: few of them are noisy by themselves.
        replace(pace, mean_per_day=min(client.counts.sum() / fit.DAYS, MOST_PER_DAY))
        for pace, client in zip(
            arrivals.load().clients(len(steady), rng, mean_per_day=1), steady, strict=True
        )
    ]
    owners, times = Fleet(drawn).times(rng, 0.0, HOURS * arrivals.HOUR_S)
    hours = np.zeros((len(drawn), HOURS))
    np.add.at(hours, (owners, (times // arrivals.HOUR_S).astype(int)), 1)
    noise = [fit.day_noise(row) for row in hours]
    return Comparison.of(
        "hours around the average day", "CV over 14 days", np.array(source), np.array(noise)
    )


def code_gaps(directory: Path) -> Comparison:
    """Gaps of a whole service (Azure code), over their mean: another trace than was fitted.

    Many users at once: the superposition of a thousand drawn accounts whose day is flat.
    """
    at, _, _ = traces.code_trace(directory)
    rng = np.random.default_rng(SEED)
    per_day = len(at) / (at[-1] - at[0]) * DAY_S
    paces = [
        replace(pace, hours=(1.0,) * 24)
        for pace in arrivals.load().clients(1000, rng, mean_per_day=per_day / 1000)
    ]
    _, times = Fleet(paces).times(rng, 0.0, float(at[-1] - at[0]))
    source, drawn = np.diff(at), np.diff(np.sort(times))
    return Comparison.of(
        "gaps of a whole service",
        "gap over mean gap",
        source / source.mean(),
        drawn / drawn.mean(),
    )


def token_lengths(directory: Path) -> Iterator[Comparison]:
    """Input and output tokens of each kind of work, pooled over its clients."""
    rng = np.random.default_rng(SEED)
    model = lengths.load()
    for kind, (inputs, outputs) in source_lengths(directory, rng).items():
        drawn_in, drawn_out = model.sample(kind, rng, DRAWS)
        yield Comparison.of(f"{kind}: input", "log tokens", np.log(inputs), np.log(drawn_in))
        yield Comparison.of(f"{kind}: output", "log tokens", np.log(outputs), np.log(drawn_out))


def source_lengths(directory: Path, rng: np.random.Generator) -> dict[str, tuple[Floats, Floats]]:
    """Token counts by kind; where a trace gives quantiles only, drawn from between them."""
    _, code_in, code_out = traces.code_trace(directory)
    kinds = {"code": (code_in, code_out), "summarise": traces.summarise_trace(directory)}
    for kind, rows in fit.partition(traces.client_lengths(directory)).items():
        picked = rng.integers(0, len(rows), DRAWS)
        kinds[kind] = (
            _between([rows[i].input_tokens for i in picked], rng),
            _between([rows[i].output_tokens for i in picked], rng),
        )
    return {kind: (np.maximum(a, 1), np.maximum(b, 1)) for kind, (a, b) in kinds.items()}


def _between(quantiles: list[list[float]], rng: np.random.Generator) -> Floats:
    # Within the quantiles that were kept: what lies beyond 1 % and 99 % is known to nobody.
    low, high = traces.PROBABILITIES[0], traces.PROBABILITIES[-1]
    at = rng.uniform(low, high, len(quantiles))
    points = [
        np.interp(p, traces.PROBABILITIES, q[:-1]) for p, q in zip(at, quantiles, strict=True)
    ]
    return np.rint(points)
