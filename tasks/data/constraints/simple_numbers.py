"""Simple constants: numbers of few digits near a fitted one."""

import math
from collections.abc import Callable, Iterator

import numpy as np

KNOWN_DIVISORS = (365.25, 365.2425, 30.4375, 1024.0, 1048576.0)
"""Divisors of units that are not round numbers."""

TOLERATED = 0.0006
"""Share of the rows that a simpler constant may lose."""

CHECKED_ROWS = 2000
"""Number of rows in which simpler constants are compared."""

HALF = 0.5 + 1e-7
"""Half of a step, with room for rounding errors of float64."""


def simple_near(value: float, precision: float) -> Iterator[float]:
    """Iterate over simple numbers near a fitted one, the simplest first.

    Args:
        value: The fitted number.
        precision: Relative distance within which a simple number is near.
    """
    if value == 0 or not math.isfinite(value):
        return
    size = abs(value)
    sign = math.copysign(1.0, value)
    exponent = math.floor(math.log10(size))
    inverse = round(1 / size)
    tried = [float(round(size)), 1 / inverse if inverse else 0.0]
    tried += [round(size, digits - 1 - exponent) for digits in range(1, 5)]
    tried += [v for d in KNOWN_DIVISORS for v in (d, 1 / d)]
    tried += [round(size * d) / d for d in (3, 6, 7, 9, 11, 12)]
    tried += [round(size, digits - 1 - exponent) for digits in range(5, 10)]
    for other in tried:
        if other and abs(other - size) <= precision * size:
            yield sign * other


def simplify(
    coefficients: np.ndarray,
    share: Callable[[np.ndarray], float],
    precision: float = 0.02,
) -> np.ndarray:
    """Replace each coefficient by the simplest number with which as many rows agree.

    Args:
        coefficients: The fitted coefficients.
        share: Returns the share of the rows that agree with some coefficients.
        precision: Relative distance within which simpler numbers are tried.
    """
    joint = np.array([next(simple_near(c, precision), c) for c in coefficients])
    best, reached = coefficients, share(coefficients)
    together = share(joint)
    if together >= 0.999 or together >= reached:
        best, reached = joint, together
    for place in range(len(coefficients)):
        tried = [best]
        for value in simple_near(float(coefficients[place]), precision):
            tried.append(best.copy())
            tried[-1][place] = value
        shares = [share(t) for t in tried]
        top = max(shares)
        slack = TOLERATED + (max(0.0, top * (1 - top)) / CHECKED_ROWS) ** 0.5
        if shares[0] < 1 or best is coefficients:
            good = [t for t, s in zip(tried, shares, strict=True) if s >= top - slack]
            best = good[1] if good[0] is best and len(good) > 1 else good[0]
    return best


def simplest_between(low: float, high: float) -> float:
    """Return the number with the fewest decimals in an interval, 0 if it lies there."""
    slack = 1e-6 * (high - low) + 1e-12 * max(abs(low), abs(high))
    low, high = low - slack, high + slack
    if low <= 0 <= high:
        return 0.0
    middle = (low + high) / 2
    for decimals in range(-12, 13):
        value = round(middle, decimals)
        if low <= value <= high:
            return value + 0.0
    return middle


def window(
    residuals: np.ndarray, width: np.ndarray | float
) -> tuple[float, float, float]:
    """Return the interval of constants with which most residuals vanish.

    A constant c rounds residual r away if |r - c| is at most half the width.

    Args:
        residuals: Differences of numbers and their unrounded fits, (n,).
        width: Distance of neighbouring numbers, (n,) or one for all.

    Returns:
        Lower and upper end of the interval, and the share of the residuals.
    """
    half = np.broadcast_to(np.asarray(width, np.float64), residuals.shape) / 2
    half = half * (1 - 1e-6)  # neighbouring intervals do not touch
    ends = np.concatenate([residuals - half, residuals + half])
    change = np.r_[np.ones(len(residuals)), -np.ones(len(residuals))]
    order = np.lexsort((-change, ends))
    depth = np.cumsum(change[order])
    top = int(np.argmax(depth))
    low = float(ends[order[top]])
    high = float(ends[order[min(top + 1, len(order) - 1)]])
    return low, high, float(depth[top] / max(1, len(residuals)))


def digits_of(value: float) -> int:
    """Return the significant digits of a constant or of its inverse, if it has fewer.

    Up to three digits count as none.
    """
    if value == 0:
        return 0
    shown = [f"{abs(v):.9e}".partition("e")[0].rstrip("0") for v in (value, 1 / value)]
    return max(0, min(len(text) - 1 for text in shown) - 3)
