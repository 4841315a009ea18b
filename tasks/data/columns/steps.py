"""Common divisors of the numbers of a column: the steps in which they are counted."""

import math

import numpy as np

from tasks.data.counts import ExactCounts
from tasks.data.sketches import NumberSketch

MAX_STEP = 1000
"""Largest step of numbers that have a common divisor."""

MIN_STEP_VALUES = 20
"""Number of distinct values from which a common divisor is not a coincidence."""


def step_of(divisor: int, distinct: int) -> int:
    """Return the step of integers, 1 if they have none.

    Args:
        divisor: Their greatest common divisor, 0 if it is unknown. Of one above
            `MAX_STEP`, the step is what both have in common.
        distinct: Number of distinct integers.
    """
    if distinct < MIN_STEP_VALUES or not divisor:
        return 1
    return divisor if divisor <= MAX_STEP else math.gcd(divisor, MAX_STEP)


def divisor_of_reals(sketch: NumberSketch) -> int:
    """Return the greatest common divisor of reals in units of their last decimal.

    It is 0 if not all values are known, as others may not be multiples.
    """
    if sketch.decimals is None or not isinstance(sketch.counts, ExactCounts):
        return 0
    units = np.rint(sketch.distribution().values * 10.0**sketch.decimals)
    return int(np.gcd.reduce(units.astype(np.int64)))
