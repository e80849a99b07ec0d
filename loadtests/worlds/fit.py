"""Refits `fitted/*.json` from the source traces:

    python -m hydragate.loadtests.worlds.fit DIRECTORY_OF_TRACES

What comes out are quantiles over clients, a few average day shapes and rank correlations: our own
figures about the traces, none of their rows.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.stats import rankdata, spearmanr

from . import traces
from .arrivals import ArrivalFit, DayShape
from .copula import Floats, Quantiles, normal_correlation
from .lengths import TAIL_FROM, ClientsFit, PooledFit
from .renewal import Gaps, hour_factors
from .traces import ClientLengths, ClientTrace

HERE = Path(__file__).parent / "fitted"
OVER_CLIENTS = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])
OVER_EXCHANGES = np.array(
    [0.001, 0.005, 0.01, 0.03, *np.arange(0.05, 0.96, 0.05).round(2), 0.97, 0.99, 0.995, 0.999]
)
SERVEGEN = (
    "ServeGen, client traces of Alibaba Cloud Model Studio (github.com/alibaba/ServeGen), "
    "Apache-2.0; Xiang et al., ServeGen (2025)"
)
AZURE = (
    "Azure LLM inference trace 2023, code service (github.com/Azure/AzurePublicDataset), "
    "CC-BY-4.0, Microsoft; Patel et al., Splitwise (ISCA 2024)"
)
VIDUR = (
    "Vidur, arXiv summarisation lengths (github.com/microsoft/vidur), MIT; Agrawal et al. (2024)"
)
# A client's days and noise are known from here: enough hours, none of them of a handful.
MIN_ACTIVE_HOURS = 72
MIN_PER_HOUR = 60
DAYS = 14
CLUSTERS = 5
# Windows looked at of each client, and gaps drawn for one; where shapes are sought, natural logs.
WINDOWS_A_CLIENT = 12
MOST_GAPS = 3000
LOG_SHAPES = (-5.0, 3.0)
LEAST_CV = 0.01
SEED = 7


def fit_arrivals(clients: list[ClientTrace]) -> ArrivalFit:
    """Rates, gap shapes, hour noise, day shapes and what they have to do with each other."""
    rates = standardised_log_rates(clients)
    is_weibull = np.array([sends_weibull(c) for c in clients])
    shapes = np.array([log_shape(c) for c in clients])
    steady = [i for i, c in enumerate(clients) if is_well_observed(c)]
    noise = np.array([hour_noise_cv(clients[i]) for i in steady])
    quiet = [clients[i] for i, cv in zip(steady, noise, strict=True) if cv < 1.0]
    return ArrivalFit(
        source=[SERVEGEN],
        log_rate_sd=round(pooled_sd(clients), 3),
        weibull_share=round(float(is_weibull.mean()), 3),
        gamma_log_shape=Quantiles.of(shapes[~is_weibull], OVER_CLIENTS),
        weibull_log_shape=Quantiles.of(shapes[is_weibull], OVER_CLIENTS),
        hour_noise=Quantiles.of(noise_sigmas(noise), OVER_CLIENTS),
        correlation=_correlation(rates, within_kinds(shapes, is_weibull), noise, steady),
        weekend=round(weekend_factor(quiet), 3),
        day_shapes=day_shapes(quiet),
    )


def log_rates(clients: list[ClientTrace]) -> Floats:
    """Logarithm of each client's requests over its trace."""
    return np.log([client.counts.sum() for client in clients])


def standardised_log_rates(clients: list[ClientTrace]) -> Floats:
    """Log rates less their model's mean, over their model's standard deviation."""
    logs = log_rates(clients)
    result = np.empty(len(logs))
    for rows in _by_model(clients):
        result[rows] = (logs[rows] - logs[rows].mean()) / logs[rows].std(ddof=1)
    return result


def pooled_sd(clients: list[ClientTrace]) -> float:
    """Standard deviation of log rates within a model, over all models."""
    logs, models = log_rates(clients), _by_model(clients)
    squares = sum(float(((logs[rows] - logs[rows].mean()) ** 2).sum()) for rows in models)
    return float(np.sqrt(squares / (len(clients) - len(models))))


def sends_weibull(client: ClientTrace) -> bool:
    """Whether more of the client's requests came in windows fitted by Weibull than by Gamma."""
    return bool(np.average(client.weibull, weights=client.counts) > 0.5)


def some_windows(client: ClientTrace) -> tuple[Floats, Floats]:
    """(requests, CV of gaps) of windows taken evenly over the client's trace."""
    rows = np.linspace(0, len(client.cvs) - 1, WINDOWS_A_CLIENT).astype(int)
    return np.minimum(client.counts[rows], MOST_GAPS), np.maximum(client.cvs[rows], LEAST_CV)


def log_shape(client: ClientTrace) -> float:
    """The shape whose gaps, as many as in the client's windows, vary as much as the client's.

    By simulation, because the variation of a few very bursty gaps falls far short of that of the
    distribution they come from. Bisection in the logarithm, with the same draws at each step.
    """
    counts, cvs = some_windows(client)
    target, weibull = float(np.log(cvs).mean()), sends_weibull(client)
    low, high = LOG_SHAPES
    for _ in range(10):
        middle = (low + high) / 2
        is_too_bursty = drawn_log_cv(middle, counts, weibull) > target
        low, high = (middle, high) if is_too_bursty else (low, middle)
    return (low + high) / 2


def drawn_log_cv(log_shape: float, counts: Floats, weibull: bool) -> float:
    """Mean log CV of drawn gaps over windows of these counts."""
    rng = np.random.default_rng(SEED)
    gaps = Gaps.of(np.array([np.exp(log_shape)]), np.array([weibull]))
    drawn = (gaps.draw(rng, np.zeros(int(count), np.int64)) for count in counts)
    return float(np.mean([np.log(max(g.std() / g.mean(), LEAST_CV)) for g in drawn]))


def within_kinds(values: Floats, kind: NDArray[np.bool_]) -> Floats:
    """Ranks within each kind, 0..1."""
    result = np.empty(len(values))
    for which in (True, False):
        rows = kind == which
        result[rows] = rankdata(values[rows]) / rows.sum()
    return result


def is_well_observed(client: ClientTrace) -> bool:
    """Fourteen days of trace, many active hours, and enough requests in each."""
    if client.category != "language":
        return False
    hours = client.hourly(24 * DAYS)
    return bool((hours > 0).sum() >= MIN_ACTIVE_HOURS and hours.mean() >= MIN_PER_HOUR)


def hour_noise_cv(client: ClientTrace) -> float:
    """Coefficient of variation of the hours around the client's own day shape."""
    return day_noise(client.hourly(24 * DAYS))


def day_noise(hourly: Floats) -> float:
    """The same of requests in each hour of the fourteen days; 0 without any."""
    hours = hourly.reshape(DAYS, 24)
    expected = hours.mean(axis=0)
    active = expected > 0
    ratios = hours[:, active] / expected[active]
    # The day shape was taken from the same days: one degree of freedom an hour.
    return float(ratios.std() * np.sqrt(DAYS / (DAYS - 1)))


def noise_sigmas(cvs: Floats) -> Floats:
    """The `hour_noise` of accounts whose hours stray as far as these, by simulation.

    Fourteen days show less variation than the distribution has: what they show is inverted.
    """
    grid = np.linspace(0.0, 4.0, 33)
    hours = np.tile(np.arange(24 * DAYS), (300, 1))
    seeds = np.arange(300, dtype=np.uint64)
    shown = [
        np.median([day_noise(row) for row in hour_factors(seeds, np.full(300, sigma), hours)])
        for sigma in grid
    ]
    return np.interp(cvs, np.maximum.accumulate(shown), grid)


def weekend_factor(clients: list[ClientTrace]) -> float:
    """Median over clients of the rate of the two quiet days of a week over that of the others.

    The trace does not name its days; days 4 and 5 of each week are the quiet ones throughout.
    """
    factors = []
    for client in clients:
        days = client.hourly(24 * DAYS).reshape(DAYS, 24).sum(axis=1)
        weekend = np.isin(np.arange(DAYS) % 7, (4, 5))
        factors.append(days[weekend].mean() / days[~weekend].mean())
    return float(np.median(factors))


def day_shapes(clients: list[ClientTrace]) -> list[DayShape]:
    """Average days of clients alike, from k-means on square roots of hourly shares."""
    days = np.array([c.hourly(24 * DAYS).reshape(DAYS, 24).mean(axis=0) for c in clients])
    days /= days.mean(axis=1, keepdims=True)
    _, labels = kmeans2(np.sqrt(days), CLUSTERS, rng=SEED, minit="++")
    shapes = []
    for label in np.unique(labels):
        mean = days[labels == label].mean(axis=0)
        hours = tuple(round(float(value), 3) for value in mean / mean.mean())
        shapes.append(DayShape(round(float((labels == label).mean()), 3), hours))
    return sorted(shapes, key=lambda shape: -shape.weight)


def fit_lengths(directory: Path) -> dict[str, PooledFit | ClientsFit]:
    """Every kind of work, by name."""
    _, code_in, code_out = traces.code_trace(directory)
    kinds: dict[str, PooledFit | ClientsFit] = {
        "code": fit_pooled(AZURE, code_in, code_out),
        "summarise": fit_pooled(VIDUR, *traces.summarise_trace(directory)),
    }
    for kind, lengths in partition(traces.client_lengths(directory)).items():
        kinds[kind] = fit_clients(lengths)
    return kinds


def fit_pooled(source: str, inputs: Floats, outputs: Floats) -> PooledFit:
    """Quantiles of both and the correlation of their ranks."""
    rho = float(spearmanr(inputs, outputs).statistic)
    return PooledFit(
        source,
        Quantiles.of(np.log(np.maximum(inputs, 1)), OVER_EXCHANGES),
        Quantiles.of(np.log(np.maximum(outputs, 1)), OVER_EXCHANGES),
        round(2 * float(np.sin(np.pi * rho / 6)), 3),
    )


def partition(lengths: list[ClientLengths]) -> dict[str, list[ClientLengths]]:
    """Kinds of work by the shape of a client's lengths: ours, the trace names none."""
    kinds: dict[str, list[ClientLengths]] = defaultdict(list)
    for one in lengths:
        kinds[kind_of(one)].append(one)
    return kinds


def kind_of(one: ClientLengths) -> str:
    """batch: the same length every time; agent: long in, short out; else chat. reason by model."""
    low, median, high = (one.input_tokens[i] for i in (2, 4, 6))
    if one.category == "reason":
        return "reason"
    if high <= 1.5 * max(low, 1):
        return "batch"
    if median >= 1500 and median >= 8 * one.output_tokens[4]:
        return "agent"
    return "chat"


def fit_clients(lengths: list[ClientLengths]) -> ClientsFit:
    """Quantiles over client-windows of medians and slopes, each client weighing the same."""
    fields = np.array([spread(x.input_tokens) + spread(x.output_tokens) for x in lengths])
    rho = np.array(spearmanr(fields).statistic)
    return ClientsFit(
        SERVEGEN,
        [Quantiles.of(column, OVER_CLIENTS) for column in fields.T],
        normal_correlation(np.nan_to_num(rho)).round(3).tolist(),
    )


def spread(quantiles: list[float]) -> list[float]:
    """`lengths.Spread` of one client: median and slopes of log quantiles over normal scores."""
    logs = np.log(np.maximum(quantiles, 1))
    score = NormalDist().inv_cdf
    low = (logs[4] - logs[1]) / -score(traces.PROBABILITIES[1])
    high = (logs[6] - logs[4]) / TAIL_FROM
    tail = (logs[8] - logs[6]) / (score(traces.PROBABILITIES[8]) - TAIL_FROM)
    return [float(logs[4]), float(low), float(high), float(tail)]


def _by_model(clients: list[ClientTrace]) -> list[list[int]]:
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, client in enumerate(clients):
        rows[client.category, client.model].append(i)
    return list(rows.values())


def _correlation(
    rates: Floats, shapes: Floats, noise: Floats, steady: list[int]
) -> list[list[float]]:
    # Noise is known of some clients only; rate and gap shape of all.
    rho = np.eye(3)
    rho[0, 1] = rho[1, 0] = spearmanr(rates, shapes).statistic
    rho[0, 2] = rho[2, 0] = spearmanr(rates[steady], noise).statistic
    rho[1, 2] = rho[2, 1] = spearmanr(shapes[steady], noise).statistic
    rounded: list[list[float]] = normal_correlation(rho).round(3).tolist()
    return rounded


def write(directory: Path) -> None:
    """Fit everything from the traces in `directory` and write `fitted/`."""
    fits = {
        "arrivals.json": fit_arrivals(traces.client_traces(directory)),
        "lengths.json": fit_lengths(directory),
    }
    for name, fit in fits.items():
        text = msgspec.json.format(msgspec.json.encode(fit), indent=-1)
        (HERE / name).write_bytes(text + b"\n")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / traces.CLIENTS).is_file():
        sys.exit(f"give the directory that holds {traces.CLIENTS}")
    write(Path(sys.argv[1]))
