"""Cells as numbers that formulas compute with, and numbers as cells.

Numbers and decimals are themselves, bools 0 and 1, dates the days since 1970; times,
timestamps and durations are seconds.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.formulas.choices import Rounding

COUNTED = ("date", "time", "timestamp", "duration")

NUMERIC = (*arrow.NUMBERS, *COUNTED)
"""Families of Arrow types whose cells are numbers to a formula."""


def numbers(array: pa.Array) -> np.ndarray:
    """Convert cells to float64 (n,), NaN where they are null or not finite."""
    array = arrow.flat(array)
    family = arrow.family(array.type)
    if family in COUNTED:
        cells = arrow.integers(array, array.type)
        values = cells.values / _ticks(array.type)
    else:
        cells = arrow.reals(array)
        values = np.where(np.isfinite(cells.values), cells.values, np.nan)
    if cells.missing is not None:
        values = np.where(cells.missing, np.nan, values)
    return values


def from_numbers(values: np.ndarray, type: pa.DataType) -> pa.Array:
    """Convert float64 (n,) to an array of the plain type; null where it cannot hold it.

    Types without fractions hold values that are whole up to rounding errors.
    """
    plain, family = arrow.plain(type), arrow.family(type)
    if family not in NUMERIC:
        return pa.nulls(len(values), plain)
    values = values * _ticks(plain)
    null = ~np.isfinite(values)
    if family == "real":
        top = float(np.finfo(plain.to_pandas_dtype()).max)
        with np.errstate(invalid="ignore"):
            null |= np.abs(values) > top
        return arrow.from_reals(np.where(null, 0.0, values), mask(null), plain)
    scale = 10.0**plain.scale if family == "decimal" else 1.0
    units = np.where(null, 0.0, values * scale)
    whole = np.rint(units)
    null |= np.abs(units - whole) > 1e-6 * np.maximum(1.0, 1e-3 * np.abs(units))
    low, high = _range(plain)
    null |= (whole < low) | (whole > high)
    return arrow.from_reals(np.where(null, 0.0, whole / scale), mask(null), plain)


def mask(null: np.ndarray) -> np.ndarray | None:
    """Return a mask of nulls, or None if there are none."""
    return null if null.any() else None


def _ticks(type: pa.DataType) -> int:
    """Return the units of a type in one unit of its numbers."""
    if arrow.family(type) in ("time", "timestamp", "duration"):
        return arrow.TICKS[arrow.plain(type).unit]
    return 1


def _range(type: pa.DataType) -> tuple[float, float]:
    """Return the least and the greatest number of units that a type holds."""
    family = arrow.family(type)
    if family == "bool":
        return 0, 1
    if family == "decimal":
        top = 10.0 ** min(type.precision, 18)
        return -top, top
    if family == "integer":
        bounds = np.iinfo(type.to_pandas_dtype())
        return float(bounds.min), float(np.nextafter(float(bounds.max), 0))
    if family == "time":
        return 0, 86_400 * _ticks(type) - 1
    bits = 31 if type.bit_width == 32 else 62
    return -(2.0**bits), 2.0**bits - 1


def round_to(
    values: np.ndarray, decimals: int | None, rounding: Rounding
) -> np.ndarray:
    """Round to decimal places.

    Except for `numpy`, values a rounding error away from a half count as one.

    Args:
        values: float64, (n,).
        decimals: Decimal places, negative for tens and hundreds; None: do not round.
        rounding: How halves, or all fractions, are rounded.
    """
    if decimals is None:
        return values
    power = 10.0 ** abs(decimals)
    units = values * power if decimals >= 0 else values / power
    with np.errstate(invalid="ignore"):
        slack = 1e-9 * np.maximum(1.0, np.minimum(np.abs(units), 1e6))
        if rounding == "floor":
            whole = np.floor(units + slack)
        elif rounding == "numpy":
            whole = np.rint(units)
        elif rounding == "half_up":
            whole = np.copysign(np.floor(np.abs(units) + 0.5 + slack), units)
        else:
            halves = np.rint(2 * units)
            near = np.abs(2 * units - halves) <= 2 * slack
            whole = np.rint(np.where(near, halves / 2, units))
    rounded: np.ndarray = whole / power if decimals >= 0 else whole * power
    return rounded + 0.0  # no negative zero


def number_text(value: float) -> str:
    """Format a constant of a formula, with at most six significant digits."""
    return f"{value:.0f}" if value == int(value) else f"{value:.6g}"


def sum_text(terms: Sequence[tuple[str, float]], constant: float) -> str:
    """Format a linear combination of columns, such as `fare + 2 * tip - 1`."""
    parts = [(c, _multiple(name, abs(c))) for name, c in terms]
    if constant or not parts:
        parts.append((constant, number_text(abs(constant))))
    first = ("-" if parts[0][0] < 0 else "") + parts[0][1]
    rest = [f" {'-' if c < 0 else '+'} {shown}" for c, shown in parts[1:]]
    return first + "".join(rest)


def _multiple(name: str, coefficient: float) -> str:
    """Format a positive multiple of a column, such as `2 * tip` or `month / 12`."""
    divisor = 1 / coefficient
    if coefficient == 1:
        return name
    if len(f"{coefficient:.6g}") > 6 and f"{divisor:.12g}" == f"{divisor:.6g}":
        return f"{name} / {divisor:.6g}"
    return f"{number_text(coefficient)} * {name}"
