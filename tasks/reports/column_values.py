"""Columns of any type as numbers or as strings."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ar_models.tables import arrow

Floats = NDArray[np.float64]

MAX_DISTANCE = 2.0**62
"""Distances of int64 below this do not overflow."""


def to_numbers(array: pa.ChunkedArray) -> Floats | None:
    """Return numbers or times as floats, (n,), NaN where null; None for other types."""
    kind = arrow.plain(array.type)
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_temporal(kind)
    ):
        return None
    array = decode(array)
    if pa.types.is_temporal(kind):
        array = array.cast(integer_type(kind))
    values = array.cast(pa.float64(), safe=False)
    return np.asarray(pc.fill_null(values, np.nan).to_numpy())


def to_distances(array: pa.ChunkedArray, origin: int) -> Floats:
    """Return the distances of integers or times from one of them as floats.

    Unlike floats of large integers, they tell those apart that lie close together.

    Args:
        array: Integers, dates, times, timestamps or durations (n,).
        origin: Subtracted from each, in the units of `ar_models.tables.arrow.integers`.

    Returns:
        (n,) in units of the type, NaN where null.
    """
    cells = arrow.integers(array, array.type)
    with np.errstate(over="ignore"):
        near = cells.values - np.int64(origin)
    far = (cells.values.astype(np.float64) - origin).round()
    distances = np.where(np.abs(far) < MAX_DISTANCE, near, far)
    if cells.missing is not None:
        distances[cells.missing] = np.nan
    return distances


def to_strings(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return categories as strings, bytes in hexadecimal digits."""
    array = decode(array)
    if arrow.family(array.type) == "bytes":
        values = [None if v is None else v.hex() for v in array.to_pylist()]
        return pa.chunked_array([pa.array(values, pa.string())])
    return array.cast(pa.string())


def decode(array: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without encoding or extension type."""
    kind = arrow.plain(array.type)
    return array if array.type == kind else array.cast(kind)


def integer_type(kind: pa.DataType) -> pa.DataType:
    """Return the integer type that stores a type of times."""
    return pa.int32() if kind.bit_width == 32 else pa.int64()
