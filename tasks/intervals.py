"""Confidence intervals of means, and distances of numbers from uniform ones."""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCKS = 10_000
"""Rows are resampled singly, or in so many blocks of neighbours if they are more."""

TOGETHER = 50
"""Resamples that are drawn together."""


def interval(
    values: Floats, confidence: float, resamples: int = 1000
) -> tuple[float, float]:
    """A bootstrap confidence interval of the mean of independent values.

    The same values give the same interval.

    Args:
        values: (n,), at least one.
        confidence: Probability with which the interval covers the mean.
        resamples: How many.
    """
    starts = np.linspace(0, len(values), min(len(values), BLOCKS) + 1).astype(int)
    sums = np.add.reduceat(values, starts[:-1])
    sizes = np.diff(starts).astype(np.float64)
    rng = np.random.default_rng(0)
    means = []
    for start in range(0, resamples, TOGETHER):
        drawn = min(TOGETHER, resamples - start)
        chosen = rng.integers(0, len(sums), (drawn, len(sums)))
        means.append(sums[chosen].sum(axis=1) / sizes[chosen].sum(axis=1))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def half_width(variance: Floats, count: int, confidence: float) -> Floats:
    """Half a normal confidence interval of means of `count` values of a variance."""
    return NormalDist().inv_cdf((1 + confidence) / 2) * np.sqrt(variance / count)


def distance(values: Floats) -> float:
    """The Kolmogorov-Smirnov distance of values in [0, 1] from uniform ones."""
    ranked = np.sort(values)
    steps = np.arange(len(ranked) + 1) / len(ranked)
    return float(max((steps[1:] - ranked).max(), (ranked - steps[:-1]).max()))


def binned_distance(counts: NDArray[np.int64]) -> float:
    """The same, from counts in equal bins: exact to one part in their number."""
    if not counts.sum():
        return 0.0
    reached = np.cumsum(counts) / counts.sum()
    uniform = np.arange(1, len(counts) + 1) / len(counts)
    return float(np.abs(reached - uniform).max())
