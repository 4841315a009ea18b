"""Rules of single columns: decimals, multiples, digits, dates and known values."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ar_models.tables import arrow
from tasks.evaluation.distances import shares, total_variation
from tasks.evaluation.fidelity.findings import Finding, Mask, StackedRows
from tasks.reports.column_values import to_numbers

RARE = 0.01
"""Largest share of training cells that may lie off a grid that the others lie on."""

UNUSUAL = 0.0002
"""Largest share of training cells of a digit or part of a date that hardly occurs."""

MIN_CELLS = 100
"""Minimum number of training cells, and of their distinct values, to check digits."""

MIN_DISTINCT = 10
"""Minimum number of distinct training values among which a step is sought."""

SCREENED = 5000
"""Maximum number of training cells among which a step is sought."""

MAX_PLACES = 6
"""Maximum number of decimal places of a grid."""

STEPS = sorted(
    {m * 10**k for m in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 24, 25) for k in range(7)},
    reverse=True,
)
"""Steps of grids, in units of the last decimal place, the largest first."""

MAX_NUMBER = 1e15
"""Number whose absolute value is too large for decimal places."""

MAX_ROUNDING = 0.05
"""Largest rounding error at which the last decimal place is known, in its units."""

MIN_DISTANCE = 0.05
"""Smallest reported difference of total variation distances between last digits."""

DATE_PARTS = ("month", "day", "day_of_week", "hour", "minute", "second")
"""Parts of dates and times, names of functions of pyarrow."""

MAX_RANGES = 6
"""Maximum number of ranges of values that a rule lists."""

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """Numbers as multiples of their last decimal place.

    Attributes:
        values: The multiples, (rows,), 0 where unknown.
        known: Which cells hold such a number, (rows,).
        off: Which cells hold a number with more decimals, (rows,).
        places: Number of decimal places.
    """

    values: Integers
    known: Mask
    off: Mask
    places: int


def check_column(rows: StackedRows, name: str) -> Iterator[tuple[Finding, Mask]]:
    """Yield the rules of a column that synthetic rows violate, and where.

    A cell counts for the first rule that it violates.

    Args:
        rows: The compared rows.
        name: Name of the column.
    """
    column = rows.table[name]
    explained = np.zeros(len(column), bool)
    checks = set()
    for check, rule, wrong in _rules(column, rows.train):
        wrong = wrong & ~explained
        finding = rows.violation(check, (name,), rule, wrong)
        if finding is not None:
            explained |= wrong
            checks.add(check)
            yield finding, wrong
    if not checks & {"decimals", "digits"}:
        for finding in _digit_frequencies(rows, name):
            yield finding, np.zeros(len(column), bool)


def _rules(column: pa.ChunkedArray, train: slice) -> Iterator[tuple[str, str, Mask]]:
    """Yield the rules that training cells keep, and the cells that violate them."""
    units = to_units(column, train)
    if units is not None:
        if not pa.types.is_integer(column.type):
            yield "decimals", f"multiples of {_unit(1, units.places)}", units.off
        if (step := find_step(units, train)) > 1:
            wrong = units.known & (units.values % step != 0)
            yield "multiples", f"multiples of {_unit(step, units.places)}", wrong
        if _has_digits(units, train):
            digits = np.abs(units.values) // step % 100
            usual = _usual(digits, units.known, train)
            label = f"last two digits {to_ranges(usual)}"
            yield "digits", label, units.known & ~np.isin(digits, usual)
    yield from _date_rules(column, train)
    codes = arrow.dictionary_encoded(column).indices.fill_null(-1)
    values = codes.to_numpy(zero_copy_only=False)
    wrong = ~np.isin(values, np.unique(values[train]))
    yield "values", "values that occur in training rows", wrong


def to_units(column: pa.ChunkedArray, train: slice) -> Units | None:
    """Return numbers as multiples of the last decimal place of the training cells.

    Args:
        column: The column.
        train: Places of the training cells, which determine the decimal places.

    Returns:
        None for other types than numbers and if nearly all training cells have more
        than `MAX_PLACES` decimals.
    """
    if pa.types.is_integer(column.type):
        known = np.asarray(column.is_valid().to_numpy())
        values = pc.fill_null(column, 0).cast(pa.int64(), safe=False).to_numpy()
        return Units(np.asarray(values), known, np.zeros(len(known), bool), 0)
    numbers = to_numbers(column)
    if numbers is None or pa.types.is_temporal(column.type):
        return None
    finite = np.abs(numbers) < MAX_NUMBER
    if pa.types.is_floating(column.type):
        epsilon = float(np.finfo(column.type.to_pandas_dtype()).eps)
    else:
        epsilon = float(np.finfo(np.float64).eps)
    for places in range(MAX_PLACES + 1):
        scaled = np.where(finite, numbers, 0.0) * 10.0**places
        rounding = epsilon * np.abs(scaled)
        exact = finite & (rounding < MAX_ROUNDING)
        off = exact & (np.abs(scaled - np.rint(scaled)) > rounding + 1e-9)
        if exact[train].sum() < (1 - RARE) * max(finite[train].sum(), 1):
            return None
        if off[train].sum() <= RARE * exact[train].sum():
            known = exact & ~off
            values = np.rint(np.where(known, scaled, 0.0)).astype(np.int64)
            return Units(values, known, off, places)
    return None


def find_step(units: Units, train: slice) -> int:
    """Return the largest step of which nearly all training cells are multiples."""
    values = units.values[train]
    values = values[values != 0][:SCREENED]
    if len(values) < MIN_CELLS or len(np.unique(values)) < MIN_DISTINCT:
        return 1
    steps = (step for step in STEPS if (values % step != 0).mean() <= RARE)
    return next(steps, 1)


def _has_digits(units: Units, train: slice) -> bool:
    """Return whether training cells have enough distinct values to compare digits."""
    values = np.abs(units.values[train][units.known[train]])
    return len(np.unique(values)) > MIN_CELLS


def _usual(codes: Integers, known: Mask, train: slice) -> Integers:
    """Return the codes, at least 0, that more than hardly occur in training cells."""
    counts = np.bincount(codes[train][known[train]])
    return np.flatnonzero(counts > UNUSUAL * counts.sum())


def _date_rules(
    column: pa.ChunkedArray, train: slice
) -> Iterator[tuple[str, str, Mask]]:
    """Yield the rules of dates, times, and numbers or strings that stand for dates."""
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        known = np.asarray(column.is_valid().to_numpy())
        parts = DATE_PARTS[:3] if pa.types.is_date(column.type) else DATE_PARTS
        for part in parts:
            codes = getattr(pc, part)(column).cast(pa.int64())
            values = np.asarray(pc.fill_null(codes, 0).to_numpy())
            usual = _usual(values, known, train)
            label = f"{part.replace('_', ' ')} {to_ranges(usual)}"
            yield "dates", label, known & ~np.isin(values, usual)
        return
    known, numbers = _date_numbers(column)
    valid = _is_date(numbers)
    if known[train].any() and valid[train].sum() >= (1 - RARE) * known[train].sum():
        yield "dates", "dates of the calendar", known & ~valid


def _date_numbers(column: pa.ChunkedArray) -> tuple[Mask, Integers]:
    """Return which cells are known, and those that look like dates as YYYYMMDD."""
    known = np.asarray(column.is_valid().to_numpy())
    numbers = np.zeros(len(column), np.int64)
    if pa.types.is_integer(column.type):
        numbers = np.asarray(pc.fill_null(column, 0).to_numpy()).astype(np.int64)
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        matches = pc.match_substring_regex(column, r"^\d{4}-\d{2}-\d{2}")
        places = np.asarray(pc.fill_null(matches, False).to_numpy())
        digits = pc.utf8_slice_codeunits(column.filter(matches), 0, 10)
        digits = pc.replace_substring(digits, "-", "")
        numbers[places] = digits.cast(pa.int64()).to_numpy()
    return known, numbers


def _is_date(numbers: Integers) -> Mask:
    """Return which numbers of the form YYYYMMDD are dates of the years 1500 to 2499."""
    year, month, day = numbers // 10_000, numbers // 100 % 100, numbers % 100
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    lengths = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    possible = (month >= 1) & (month <= 12) & (year >= 1500) & (year < 2500)
    length = lengths[np.where(possible, month, 0)] + (leap & (month == 2))
    return np.asarray(possible & (day >= 1) & (day <= length))


def _digit_frequencies(rows: StackedRows, name: str) -> Iterator[Finding]:
    """Yield a finding if the last digits of synthetic cells have other frequencies.

    Its shares are total variation distances from the training rows, computed from
    equally many held-out and synthetic rows.
    """
    units = to_units(rows.table[name], rows.train)
    if units is None or not _has_digits(units, rows.train):
        return
    digits = np.abs(units.values) // find_step(units, rows.train) % 100
    cells = [
        digits[part][units.known[part]] for part in (rows.held_out, rows.synthetic)
    ]
    size = min(map(len, cells))
    if size < MIN_CELLS:
        return
    rng = np.random.default_rng(0)
    cells = [digits[rows.train][units.known[rows.train]]] + [
        own[rng.permutation(len(own))[:size]] for own in cells
    ]
    for base, label in ((10, "last digit"), (100, "last two digits")):
        train, held_out, synthetic = (
            shares(np.bincount(own % base, minlength=base)) for own in cells
        )
        distance, reference = (
            float(total_variation(train, own)) for own in (synthetic, held_out)
        )
        least = max(MIN_DISTANCE, 4 / np.sqrt(size))
        if distance > 2 * reference and distance > reference + least:
            excess = np.argsort(train - synthetic)[:3]
            yield Finding(
                check="digit_frequencies",
                columns=(name,),
                rule=f"frequencies of the {label}",
                synthetic=distance,
                held_out=reference,
                examples=tuple(
                    f"{k:0{len(str(base)) - 1}d}: {100 * synthetic[k]:.1f} % instead "
                    f"of {100 * train[k]:.1f} %"
                    for k in excess
                ),
            )
            return


def to_ranges(values: Integers) -> str:
    """Return ascending integers as ranges, such as `0 to 59`."""
    if not len(values):
        return "none"
    groups = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    shown = [str(g[0]) if len(g) == 1 else f"{g[0]} to {g[-1]}" for g in groups]
    return ", ".join(shown[:MAX_RANGES]) + (", …" if len(shown) > MAX_RANGES else "")


def _unit(step: int, places: int) -> str:
    """Return a step, given in units of the last decimal place, as text."""
    return f"{step / 10**places:g}"
