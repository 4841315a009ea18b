"""Decimals of any precision as integers in units of a digit, or as reals, and back."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAX_PRECISION = 76
"""Number of digits of the widest decimals."""

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class WideDecimal:
    """A column of decimals that have too many digits for 64 bits, modelled as reals.

    Attributes:
        name: Name in the table.
        places: Number of decimals of all training rows; -3 if they are thousands.
        low: Least value in the training rows, as text.
        high: Greatest value in the training rows, as text.
    """

    name: str
    places: int
    low: str
    high: str


def to_units(array: pa.Array, scale: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert decimals to int64 in units of 10**-scale.

    Args:
        array: Decimals of any precision and scale.
        scale: Number of decimals of a unit.

    Returns:
        (n,) int64; and where a value is not such an integer, (n,) bool, None if
        nowhere. Values that differ beyond 64 bits still get different integers, for
        hashes.
    """
    given = array.type.scale
    off = np.zeros(len(array), bool)
    if scale < given:
        wide = array.cast(pa.decimal256(MAX_PRECISION, given))
        array = wide.cast(pa.decimal256(MAX_PRECISION, scale), safe=False)
        inexact = pc.not_equal(array.cast(wide.type), wide)
        off |= _numpy(pc.fill_null(inexact, False))
    words = _words(array)
    values = words[:, 0].copy()
    large = (words[:, 1:] != (values >> 63)[:, None]).any(axis=1)
    if large.any():
        values[large] = _folded(words[large])
        off |= large
    if scale > given:
        factor = 10 ** (scale - given)
        off |= np.abs(values) > (2**63 - 1) // factor  # 0 stays 0
        values = np.where(off, values, values * min(factor, 2**63 - 1))
    if array.null_count:
        null = _numpy(array.is_null())
        values[null] = 0
        off &= ~null
    return values, off if off.any() else None


def from_units(
    values: np.ndarray, missing: np.ndarray | None, type: pa.DataType
) -> pa.Array:
    """Convert int64 in units of the last digit to decimals, clipped to the precision.

    Args:
        values: (n,) int64.
        missing: (n,) true where null; None if nowhere.
        type: The decimal type.
    """
    if type.precision <= 18:
        top = 10**type.precision - 1
        values = np.clip(values, -top, top)
    pairs = np.stack([values, values >> 63], axis=1).astype(np.int64)
    array = pa.Array.from_buffers(
        pa.decimal128(38, type.scale), len(values), [None, pa.py_buffer(pairs)]
    )
    if missing is not None:
        array = pc.if_else(pa.array(missing), pa.scalar(None, array.type), array)
    return array.cast(type)


def from_reals(
    values: np.ndarray, missing: np.ndarray | None, type: pa.DataType
) -> pa.Array:
    """Convert float64 to decimals, rounded and clipped to what the type can hold.

    Args:
        values: (n,) float64, finite or NaN.
        missing: (n,) true where null; None if nowhere.
        type: The decimal type.
    """
    top = 10.0 ** (type.precision - type.scale)
    top = min(np.nextafter(top, 0), top - 10.0**-type.scale)
    reals = np.clip(np.nan_to_num(values), -top, top)
    array = pa.array(reals, pa.float64(), mask=missing)
    wide = pa.decimal256(MAX_PRECISION, type.scale)
    return array.cast(wide, safe=False).cast(type)


def restored(array: pa.Array, type: pa.DataType, wide: WideDecimal | None) -> pa.Array:
    """Convert modelled values to the decimals of the training table.

    Args:
        array: Decimals with fewer decimals, or reals of a `wide` column.
        type: The decimal type of the training table.
        wide: Where the values of a column that is modelled as reals lie.
    """
    if wide is None:
        return array.cast(type)
    full = pa.decimal256(MAX_PRECISION, type.scale)
    missing = _numpy(array.is_null()) if array.null_count else None
    reals = pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False)
    exact = from_reals(reals, missing, type).cast(full)
    if wide.places < type.scale:
        exact = pc.round(exact, ndigits=wide.places, round_mode="half_to_even")
    low, high = (pa.scalar(Decimal(end), full) for end in (wide.low, wide.high))
    inside = pc.max_element_wise(pc.min_element_wise(exact, high), low)
    return pc.if_else(exact.is_valid(), inside, exact).cast(type)


def least_places(array: pa.Array) -> int:
    """Return the least number of decimals with which all values can be written.

    It is -3 if all values are multiples of 1000, and far below if all are 0.
    """
    scale = array.type.scale
    exact = array.cast(pa.decimal256(MAX_PRECISION, scale))

    def suffices(places: int) -> bool:
        cut = pc.round(exact, ndigits=places, round_mode="towards_zero")
        return bool(pc.all(pc.equal(cut, exact), min_count=0).as_py())

    high: int = scale
    low = high - MAX_PRECISION + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle + 1, high)
    return low


def _words(array: pa.Array) -> np.ndarray:
    """Return the 64-bit words of decimals, (n, words) int64, the lowest one first."""
    if array.type.bit_width < 128:
        array = array.cast(pa.decimal128(38, array.type.scale))
    count = array.type.bit_width // 64
    words: np.ndarray = np.frombuffer(array.buffers()[1], np.int64)
    words = words.reshape(-1, count)
    return words[array.offset : array.offset + len(array)]


def _folded(words: np.ndarray) -> np.ndarray:
    """Return integers that differ where words (n, words) do, nearly always, (n,)."""
    bits = np.ascontiguousarray(words.T).view(np.uint64)
    folded: np.ndarray = bits[0]
    for word in bits[1:]:
        folded = folded * _MULTIPLIER ^ word
    signed: np.ndarray = folded.view(np.int64)
    return signed


def _numpy(mask: pa.Array) -> np.ndarray:
    converted: np.ndarray = mask.to_numpy(zero_copy_only=False)
    return converted
