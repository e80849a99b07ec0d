"""How long requests and answers are, in tokens, by kind of work, as in real traces.

`fitted/lengths.json` holds two forms, condensed by `fit.py`. *pooled*: quantiles of input and
output and the rank correlation between them, where the trace names no clients (code: Azure 2023;
summarise: Vidur). *clients*: quantiles over clients of each client's own median and spread, where
it does (ServeGen). Which ServeGen client counts as chat, agent, batch or reason is our partition
by the shape of its lengths: the trace does not name the work.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from .copula import Floats, Quantiles, normals

Ints = NDArray[np.int64]
MAX_TOKENS = 1_000_000


class Draws(Protocol):
    """One account's lengths."""

    def sample(self, rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
        """(input tokens, output tokens) of `count` exchanges; each from 1 to MAX_TOKENS."""


class PooledFit(msgspec.Struct, frozen=True, tag="pooled"):
    """One account like another: each exchange is drawn from the whole trace. Logs are natural."""

    source: str
    log_input: Quantiles
    log_output: Quantiles
    correlation: float  # of normal scores, input against output

    def profile(self, rng: np.random.Generator) -> PooledFit:
        """The lengths of one account."""
        return self

    def sample(self, rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
        z = normals(rng, np.array([[1.0, self.correlation], [self.correlation, 1.0]]), count)
        return _tokens(self.log_input.at(z[0])), _tokens(self.log_output.at(z[1]))

    pooled = sample


class Spread(msgspec.Struct, frozen=True):
    """A distribution around one client's median in log units, by normal score.

    `low` and `high` are the slopes below and above the median, `tail` the slope beyond the 90th
    percentile: lengths are skewed, and their tails heavier than lognormal.
    """

    median: float
    low: float
    high: float
    tail: float

    def at(self, scores: Floats) -> Floats:
        """The values at these normal scores."""
        return self.median + _bend(scores, self.low, self.high, self.tail)


class Profile(msgspec.Struct, frozen=True):
    """The lengths of one account of a kind whose clients differ."""

    input: Spread
    output: Spread

    def sample(self, rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
        z = rng.standard_normal((2, count))
        return _tokens(self.input.at(z[0])), _tokens(self.output.at(z[1]))


class ClientsFit(msgspec.Struct, frozen=True, tag="clients"):
    """Accounts that differ: quantiles over clients of `Spread`'s fields, input then output."""

    source: str
    fields: list[Quantiles]  # median, low, high, tail of input; the same of output
    correlation: list[list[float]]

    def profile(self, rng: np.random.Generator) -> Profile:
        """The lengths of one account, drawn among all clients."""
        fields = [float(row[0]) for row in self._fields(rng, 1)]
        return Profile(Spread(*fields[:4]), Spread(*fields[4:]))

    def pooled(self, rng: np.random.Generator, count: int) -> tuple[Ints, Ints]:
        """`count` exchanges, each of another account."""
        fields = self._fields(rng, count)
        z = rng.standard_normal((2, count))
        inputs = fields[0] + _bend(z[0], *fields[1:4])
        outputs = fields[4] + _bend(z[1], *fields[5:8])
        return _tokens(inputs), _tokens(outputs)

    def _fields(self, rng: np.random.Generator, count: int) -> list[Floats]:
        z = normals(rng, np.array(self.correlation), count)
        return [field.at(row) for field, row in zip(self.fields, z, strict=True)]


class LengthModel:
    def __init__(self, kinds: dict[str, PooledFit | ClientsFit]) -> None:
        self.kinds = kinds

    def sample(self, kind: str, rng: np.random.Generator, n: int) -> tuple[Ints, Ints]:
        """(input tokens, output tokens) of `n` exchanges, each as if of another account."""
        return self._fit(kind).pooled(rng, n)

    def profile(self, kind: str, rng: np.random.Generator) -> Draws:
        """One account's own lengths; draw its exchanges from it."""
        return self._fit(kind).profile(rng)

    def _fit(self, kind: str) -> PooledFit | ClientsFit:
        if kind not in self.kinds:
            raise ValueError(f"no lengths of kind {kind!r}; known: {', '.join(sorted(self.kinds))}")
        return self.kinds[kind]


# The normal score of the 90th percentile, where `tail` begins.
TAIL_FROM = 1.2816


def _bend(
    scores: Floats, low: Floats | float, high: Floats | float, tail: Floats | float
) -> Floats:
    below = low * np.minimum(scores, 0)
    body = high * np.clip(scores, 0, TAIL_FROM)
    # Beyond the 99.9th percentile nothing was seen.
    beyond = tail * np.clip(scores - TAIL_FROM, 0, 3.09 - TAIL_FROM)
    result: Floats = below + body + beyond
    return result


def _tokens(logs: Floats) -> Ints:
    return np.clip(np.rint(np.exp(logs)), 1, MAX_TOKENS).astype(np.int64)


@cache
def load() -> LengthModel:
    """The model from the numbers kept in the repository; needs no trace."""
    raw = resources.files(__package__).joinpath("fitted", "lengths.json").read_bytes()
    return LengthModel(msgspec.json.decode(raw, type=dict[str, PooledFit | ClientsFit]))
