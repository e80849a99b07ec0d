"""Joint draws from one-dimensional quantiles: normal scores with a correlation, then look-ups."""

from __future__ import annotations

from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Quantiles(msgspec.Struct, frozen=True):
    """A distribution by its quantiles: `values` at the normal scores `z`, both ascending.

    Between knots linear in z (a normal distribution is a straight line); constant outside, so that
    nothing is drawn beyond what was seen.
    """

    z: list[float]
    values: list[float]

    def at(self, scores: Floats) -> Floats:
        """The values at these normal scores."""
        return np.interp(scores, self.z, self.values)

    @classmethod
    def of(cls, sample: Floats, probabilities: Floats, *, digits: int = 4) -> Quantiles:
        """The quantiles of `sample` at these probabilities, rounded to `digits` decimals."""
        normal = NormalDist()
        scores = [round(normal.inv_cdf(float(p)), digits) for p in probabilities]
        return cls(scores, np.quantile(sample, probabilities).round(digits).tolist())


def normals(rng: np.random.Generator, correlation: Floats, count: int) -> Floats:
    """Standard normal scores with this correlation: one row a variable, `count` columns."""
    scores: Floats = np.linalg.cholesky(correlation) @ rng.standard_normal(
        (len(correlation), count)
    )
    return scores


def normal_correlation(spearman: Floats) -> Floats:
    """The correlation of normal scores that gives these rank correlations.

    Source: Kruskal, Ordinal measures of association (JASA 53, 1958): r = 2 sin(pi rho / 6).
    """
    result: Floats = 2 * np.sin(np.pi * spearman / 6)
    np.fill_diagonal(result, 1.0)
    return result
