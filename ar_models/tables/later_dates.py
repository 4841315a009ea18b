"""Dates after those of the training rows, which new rows have as time moves on."""

import numpy as np

MIN_DAYS = 31
"""Number of days after the training rows within which a date is in support."""

MAX_DAYS = 3660
"""Greatest number of such days, however long the training rows lasted."""

WEEK = 7

LEAST_DAYS = 4 * WEEK
"""Number of days from which the training rows know what a weekday is like. The same
weekday among fewer days may be one of the first, when columns did not exist yet."""


def shift_back(ticks: np.ndarray, low: int, high: int, day: int) -> np.ndarray | None:
    """Return how far later dates are shifted back to a date of training like them.

    That is the last one of the same weekday, or the last one of all if the training
    rows last less than four weeks. Dates much later than the training rows, by more
    than these last and a month, are not shifted.

    Args:
        ticks: Dates or timestamps in units of their type, (n,).
        low: Least one of the training rows.
        high: Greatest one of the training rows.
        day: Number of units in a day.

    Returns:
        Units, (n,), multiples of `day`; None if they are 0 everywhere.
    """
    if not len(ticks) or ticks.max() <= high:
        return None
    span = (high - low) // day + 1
    room = min(max(span, MIN_DAYS), MAX_DAYS) * day
    last = min(high + room, int(np.iinfo(np.int64).max))
    later = (ticks > high) & (ticks <= last)
    if not later.any():
        return None
    beyond = np.where(later, ticks, high) - high
    step = day * (WEEK if span >= LEAST_DAYS else 1)
    shift: np.ndarray = -(-beyond // step) * step
    return shift
