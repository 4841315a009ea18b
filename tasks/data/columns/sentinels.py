"""Sentinels: values far from all others that stand for something else.

Such as 9999-12-31 for no end, and -9999 for no measurement. They are found by their
mass and their distance, and must not set the scale of a column.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from tasks.data.counts import EmpiricalDistribution, ExactCounts
from tasks.data.sketches import NumberSketch

MAX_SENTINELS = 8
"""Number of distinct sentinels of a column."""

MIN_ROWS = 2
"""Number of rows in which a sentinel among numbers occurs at least."""

MIN_OTHERS = 10
"""Number of distinct other numbers from which their range says what is far."""

MIN_DISTANCE = 100
"""Distance up to which no integer is far from others."""

FREQUENT_SHARE = 0.002
"""Share of the rows from which values are known where not all are counted."""

MAX_FREQUENT = 64
"""Number of such values."""


def known_values(sketch: NumberSketch) -> EmpiricalDistribution:
    """Return the distinct values that a sketch knows, with their numbers of rows.

    They are all values, or a sample with the least, the greatest and the frequent ones.
    """
    if sketch.low is None:
        return EmpiricalDistribution(np.empty(0, np.int64), np.empty(0))
    if isinstance(sketch.counts, ExactCounts):
        return sketch.distribution()
    top = sketch.frequent_values(FREQUENT_SHARE, MAX_FREQUENT)
    known = {sketch.low: 1, sketch.high: 1} | top
    values, counts = sketch.counts.sample, sketch.counts.sample_counts
    others = ~np.isin(values, list(known))
    left = max(0.0, sketch.regular - sum(known.values()))
    scale = left / max(1.0, float(counts[others].sum()))
    return EmpiricalDistribution.of(
        np.r_[values[others], np.array(list(known), values.dtype)],
        np.r_[counts[others] * scale, list(known.values())],
    )


def far_values(
    given: EmpiricalDistribution,
    *,
    least: float,
    min_rows: int = 1,
    min_others: int = 1,
) -> np.ndarray:
    """Return which values are farther from all others than those are apart, (n,).

    Args:
        given: The distribution of the values.
        least: Fewest units between such values and the others.
        min_rows: Number of rows in which such a value occurs at least.
        min_others: Number of distinct other values at least.
    """
    values, counts = given.values.astype(np.float64), given.counts
    found = np.zeros(len(values), bool)
    while found.sum() < MAX_SENTINELS:
        rest = np.flatnonzero(~found)
        if len(rest) < 2:
            break
        at = int(np.diff(values[rest]).argmax()) + 1
        sides = sorted((rest[:at], rest[at:]), key=lambda side: counts[side].sum())
        if len(sides[0]) > MAX_SENTINELS - found.sum():
            sides.reverse()  # a sentinel may hold most rows
        few, many = sides
        gap = values[rest[at]] - values[rest[at - 1]]
        if (
            gap <= max(least, values[many[-1]] - values[many[0]])
            or len(few) > MAX_SENTINELS - found.sum()
            or len(many) < min_others
            or counts[few].min() < min_rows
        ):
            break
        found[few] = True
    return found


def number_sentinels(sketch: NumberSketch) -> dict[int | float, int]:
    """Return the sentinels among numbers, ascending, with their numbers of rows."""
    given = known_values(sketch)
    if len(given.values) <= MIN_OTHERS:
        return {}
    least = MIN_DISTANCE if sketch.is_integer else 0.0
    far = far_values(given, least=least, min_rows=MIN_ROWS, min_others=MIN_OTHERS)
    return {
        value.item(): round(count)
        for value, count in zip(given.values[far], given.counts[far], strict=True)
    }


def without_values(sketch: NumberSketch, values: Sequence[int | float]) -> NumberSketch:
    """Return the sketch of an integer column without some of its values.

    The number of rows stays. Where not all values are counted, the others are a sample.

    Args:
        sketch: The sketch.
        values: The values to leave out; some others must remain.
    """
    if not values:
        return sketch
    given = known_values(sketch)
    kept = ~np.isin(given.values, np.array(values, given.values.dtype))
    others = given.values[kept]
    rows = np.maximum(np.rint(given.counts[kept]), 1).astype(np.int64)
    return replace(
        sketch,
        low=others[0].item(),
        high=others[-1].item(),
        divisor=int(np.gcd.reduce(others.astype(np.int64))),
        counts=ExactCounts(pa.array(others), rows),
    )
