"""Distances between distributions: Kolmogorov-Smirnov, total variation, PSI."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def shares(counts: Integers | Floats) -> Floats:
    """Divide counts, (*batch, bins), by their sum over the bins; zeros stay zeros."""
    return np.asarray(counts / np.maximum(counts.sum(-1, keepdims=True), 1))


def ks_from_uniform(values: Floats) -> float:
    """Return the Kolmogorov-Smirnov distance of values in [0, 1] from uniform."""
    ranked = np.sort(values)
    steps = np.arange(len(ranked) + 1) / len(ranked)
    return float(max((steps[1:] - ranked).max(), (ranked - steps[:-1]).max()))


def binned_ks_from_uniform(counts: Integers) -> float:
    """Return the Kolmogorov-Smirnov distance from uniform of values in equal bins.

    It differs from that of the values by at most one part in the number of bins; it is
    0 without values.

    Args:
        counts: Number of values in each bin of [0, 1], (bins,).
    """
    if not counts.sum():
        return 0.0
    uniform = np.arange(1, len(counts) + 1) / len(counts)
    return float(np.abs(np.cumsum(counts) / counts.sum() - uniform).max())


def ks_of_cdfs(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]
) -> float:
    """Return the largest difference of two cumulative distribution functions.

    Args:
        first: Points (value, probability of at most this value), by ascending value;
            the function is constant between them.
        second: Points of the other one.
    """
    points = np.array(sorted({v for v, _ in first} | {v for v, _ in second}))
    reached = []
    for pairs in (first, second):
        values, cumulative = np.array(pairs, np.float64).T
        places = np.searchsorted(values, points, side="right")
        reached.append(np.concatenate([[0.0], cumulative])[places])
    return float(np.abs(reached[0] - reached[1]).max())


def total_variation(p: Floats, q: Floats) -> Floats:
    """Return half the sum of absolute differences of shares, (*batch, bins)."""
    return np.asarray(np.abs(p - q).sum(-1) / 2)


def total_variation_of_frequent(
    first: Mapping[str, float], second: Mapping[str, float], limit: int
) -> float:
    """Return the least total variation of distributions known by frequent values.

    The values that neither lists count together. A distribution of `limit` values may
    have more: one that it does not list may be as frequent as the last listed one, and
    is taken to be if that brings the two closer.

    Args:
        first: Share of each frequent value.
        second: Those of the other distribution.
        limit: Largest number of values that are listed.
    """
    floors = [
        min(listed.values(), default=0.0) * (len(listed) >= limit)
        for listed in (first, second)
    ]
    apart = 0.0
    for value in first.keys() | second.keys():
        p = first.get(value, min(second.get(value, 0.0), floors[0]))
        q = second.get(value, min(p, floors[1]))
        apart += abs(p - q)
    rest = abs(sum(first.values()) - sum(second.values()))
    return min(1.0, (apart + rest) / 2)


def population_stability_index(p: Floats, q: Floats) -> Floats:
    """Return the population stability index of positive shares, (*batch, bins)."""
    return np.asarray(((q - p) * np.log(q / p)).sum(-1))
