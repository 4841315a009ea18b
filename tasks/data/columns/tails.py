"""Generalized Pareto distributions of the integers beyond the training rows."""

import numpy as np

from ar_models.variables import MIN_TAIL_SHAPE
from tasks.data.counts import EmpiricalDistribution

TAIL_SHARE = 0.05
"""Share of the rows, at each end, to which a tail is fitted."""

MAX_SHAPE = 0.9
"""Greatest shape, so that tails have a mean."""

MIN_SCALE = 0.1
"""Least scale in standard deviations, for columns that many rows end at a limit of."""

DECIMALS = 4
"""Number of decimals to which scales and shapes are rounded."""


def pareto_tails(
    given: EmpiricalDistribution, low: float, high: float, spread: float
) -> tuple[float, float, float, float]:
    """Fit tails below and above all training rows.

    Args:
        given: Distribution of the integers in the training rows.
        low: Edge below which the lower tail begins.
        high: Edge from which on the upper tail begins.
        spread: Standard deviation of the integers, robustly measured.

    Returns:
        Scale and shape of the lower, then those of the upper tail.
    """
    least = MIN_SCALE * spread
    mirrored = EmpiricalDistribution(-given.values[::-1], given.counts[::-1])
    return *_fit(mirrored, 1 - low, least), *_fit(given, high, least)


def _fit(
    given: EmpiricalDistribution, edge: float, least: float
) -> tuple[float, float]:
    """Fit a generalized Pareto distribution and move its threshold to an edge.

    Reference:
        Hosking, Wallis, Parameter and quantile estimation for the generalized Pareto
        distribution, 1987 (the method of probability-weighted moments).

    Args:
        given: Distribution of integers.
        edge: Threshold from which on distances are counted, above all of them.
        least: Least scale.

    Returns:
        Scale and shape.
    """
    total = given.counts.sum()
    above = total - np.cumsum(given.counts)
    place = int(np.searchsorted(-above, -TAIL_SHARE * total, side="right")) - 1
    place = max(place, 0)
    threshold = given.values[place]
    excess = given.values[place + 1 :] - threshold - 0.5
    weights = given.counts[place + 1 :]
    if not len(excess):
        return max(least, 0.5), MIN_TAIL_SHAPE
    weights = weights / weights.sum()
    survival = 1 - np.cumsum(weights) + weights / 2
    mean, weighted = excess @ weights, (excess * survival) @ weights
    shape = 2 - mean / max(mean - 2 * weighted, 1e-9 * mean)
    shape = float(np.clip(shape, MIN_TAIL_SHAPE, MAX_SHAPE))
    scale = mean * (1 - shape) + shape * max(edge - threshold - 0.5, 0.0)
    return round(max(float(scale), least, 0.5), DECIMALS), round(shape, DECIMALS)
