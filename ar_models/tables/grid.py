"""Real numbers with a fixed number of decimals, as integers."""

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow

MAX_DECIMALS = 6
"""Maximum number of decimals of a real column that is treated as integers."""

SPARE_BITS = 3
"""Bits of a floating-point number that decimals leave unused: where steps are as small
as rounding errors, every number seems to have so many decimals."""


def to_units(
    values: np.ndarray, decimals: int, type: pa.DataType
) -> tuple[np.ndarray, np.ndarray]:
    """Return values as integers, and which are not multiples of 10^-decimals.

    Args:
        values: Real numbers, (n,).
        decimals: Number of decimals.
        type: Arrow type of the column, whose precision decides.

    Returns:
        int64 and bool, (n,); any integer where a value is not a multiple.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        units = np.rint(values * 10.0**decimals)
        back = units / 10.0**decimals
        precision = np.float64
        if arrow.family(type) == "real":
            precision = np.dtype(arrow.plain(type).to_pandas_dtype()).type
        equal = back.astype(precision) == values.astype(precision)
        on_grid = equal & (np.abs(units) <= 2.0**53)
    return np.where(on_grid, units, 0.0).astype(np.int64), ~on_grid


def from_units(units: np.ndarray, decimals: int) -> np.ndarray:
    """Return the float64 numbers that integers in units of 10^-decimals stand for."""
    reals: np.ndarray = units.astype(np.float64) / 10.0**decimals
    return reals


def least_decimals(values: np.ndarray, type: pa.DataType) -> int | None:
    """Return the number of decimals that finite values have, or None if too many.

    Args:
        values: Real numbers, (n,).
        type: Arrow type of the column.
    """
    bits = 53
    if arrow.family(type) == "real":
        bits = np.finfo(arrow.plain(type).to_pandas_dtype()).nmant + 1
    largest = float(np.abs(values).max(initial=0.0))
    for decimals in range(MAX_DECIMALS + 1):
        if largest * 10.0**decimals > 2.0 ** (bits - SPARE_BITS):
            return None
        sample = values[:: max(1, len(values) // 64)]  # most columns fail here
        if any(to_units(some, decimals, type)[1].any() for some in (sample, values)):
            continue
        return decimals
    return None
