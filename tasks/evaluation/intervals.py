"""Confidence intervals of means."""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_BLOCKS = 10_000
"""Maximum number of resampled units; more values are resampled in blocks of
neighbours."""

BATCH_RESAMPLES = 50
"""Number of resamples that are held in memory at once."""


def bootstrap_interval(
    values: Floats, confidence: float, resamples: int = 1000
) -> tuple[float, float]:
    """Return a bootstrap confidence interval of the mean of independent values.

    The same values give the same interval.

    Args:
        values: The values, (n,), at least one.
        confidence: Probability with which the interval covers the mean.
        resamples: Number of resamples.
    """
    starts = np.linspace(0, len(values), min(len(values), MAX_BLOCKS) + 1).astype(int)
    sums = np.add.reduceat(values, starts[:-1])
    sizes = np.diff(starts).astype(np.float64)
    rng = np.random.default_rng(0)
    means = []
    for start in range(0, resamples, BATCH_RESAMPLES):
        drawn = min(BATCH_RESAMPLES, resamples - start)
        chosen = rng.integers(0, len(sums), (drawn, len(sums)))
        means.append(sums[chosen].sum(axis=1) / sizes[chosen].sum(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def normal_half_width(variance: Floats, count: int, confidence: float) -> Floats:
    """Return half the width of a normal confidence interval of means.

    Args:
        variance: Variance of the values, of any shape.
        count: Number of values of each mean.
        confidence: Probability with which the interval covers the mean.
    """
    return NormalDist().inv_cdf((1 + confidence) / 2) * np.sqrt(variance / count)
