"""Calendar columns: dates, timestamps and times of day."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.calendar_column import (
    CLOCK_PARTS,
    DATE_PARTS,
    FOLD,
    CalendarColumn,
    all_parts,
    clock_parts,
    day_ticks,
    join_dates,
    value_range,
)
from ar_models.variables import Variable
from tasks.data.columns.numbers import integer_variable, quantile_knots, robust_spread
from tasks.data.columns.sentinels import far_values, known_values
from tasks.data.columns.states import smoothed_shares, state_variable
from tasks.data.counts import EmpiricalDistribution, ExactCounts
from tasks.data.sketches import NumberSketch

FAR_DAYS = 5 * 365
"""Fewest days between a sentinel and all other dates."""

MAX_YEARS = 256
"""Number of years up to which the year is categorical."""

CODES = {"month": 12, "day": 31, "hour": 24, "minute": 60, "second": 60, FOLD: 2}
"""Numbers of codes of the parts that are categorical or binary, besides the year."""

CYCLIC = ("month", "hour", "minute", "second")
"""Parts whose first value follows the last one."""


def calendar_column(
    name: str, type: pa.DataType, sketch: NumberSketch
) -> CalendarColumn | None:
    """Return a column of dates, timestamps or times; None if no value has a date.

    Args:
        name: Name of the column.
        type: Arrow type of the column.
        sketch: Sketch of its training rows.
    """
    values, counts, inside = _known_dates(sketch, type)
    if not inside.any():
        return None
    atoms = {
        int(value): int(count)
        for value, count in zip(values[~inside], counts[~inside], strict=True)
    }
    values, counts = values[inside], counts[inside]
    low, high = int(values[0]), int(values[-1])
    if arrow.family(type) == "time":
        low, high = value_range(type)
    names, state = state_variable(name, sketch, atoms)
    whole = CalendarColumn(
        name, "timestamp", str(type), sketch.rows, (), low=low, high=high
    )
    found, _ = whole.split(values, type)
    if arrow.family(type) == "timestamp":
        whole = _with_whole_days(whole, found, type)
    shares = {
        part: EmpiricalDistribution.of(found[part].astype(np.int64), counts)
        for part in all_parts(type)
    }
    constants = _constants(whole, type, sketch, shares)
    first_year = 0
    if "year" in shares and np.ptp(shares["year"].values) < MAX_YEARS:
        first_year = int(shares["year"].values[0])
    column = replace(
        whole,
        states=names,
        atoms=tuple(atoms),
        parts=tuple(part for part in shares if part not in constants),
        constants=tuple(constants.items()),
        first_year=first_year,
    )
    days = None
    if "year" in shares:
        days = EmpiricalDistribution.of(_days(found), counts)
    variables = _part_variables(column, shares, days, None if state is None else 0)
    first = () if state is None else (state,)
    return replace(column, variables=(*first, *variables))


def _known_dates(
    sketch: NumberSketch, type: pa.DataType
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return known values, their numbers of rows, and which are not sentinels, (n,).

    Values that cannot be divided into parts are sentinels or are left out.
    """
    known, day = known_values(sketch), day_ticks(type)
    values, counts = known.values, known.counts
    least, most = value_range(type)
    inside = (values >= least) & (values <= most)
    if arrow.family(type) == "time":
        return values[inside], counts[inside], inside[inside]
    # The first day is not divided, since time zones differ, but may be a sentinel.
    first, end = arrow.FIRST_DAY * day, (arrow.LAST_DAY + 1) * day
    dated = (values >= first) & (values < end)
    values, counts, inside = values[dated], counts[dated], inside[dated]
    given = EmpiricalDistribution(values, counts)
    is_far = far_values(given, least=FAR_DAYS * day)
    kept = inside | is_far
    return values[kept], counts[kept], (inside & ~is_far)[kept]


def _with_whole_days(
    column: CalendarColumn, found: Mapping[str, np.ndarray], type: pa.DataType
) -> CalendarColumn:
    """Return the column with a range that begins and ends with a day.

    Args:
        column: The column, whose range is that of the training rows.
        found: Parts of its known values, ascending.
        type: Arrow type of the column.
    """
    ticks = np.zeros(2, np.int64)
    for part in clock_parts(type):
        ticks = ticks * CLOCK_PARTS[part] + found[part][[0, -1]]
    least, most = value_range(type)
    low = column.low - int(ticks[0])
    high = column.high + day_ticks(type) - 1 - int(ticks[1])
    return replace(column, low=max(low, least), high=min(high, most))


def _constants(
    column: CalendarColumn,
    type: pa.DataType,
    sketch: NumberSketch,
    shares: Mapping[str, EmpiricalDistribution],
) -> dict[str, int]:
    """Return the parts that have one value in all training rows; never all of them.

    Args:
        column: The column without variables.
        type: Arrow type of the column.
        sketch: Sketch of its training rows.
        shares: Distributions of the parts of the known values.
    """
    single = {p: int(s.values[0]) for p, s in shares.items() if len(s.values) == 1}
    if not isinstance(sketch.counts, ExactCounts):
        # Other values of the part may not be among the known ones, unless the greatest
        # common divisor of all values shows that it is always 0.
        kept = {} if "year" not in single else {"year": single["year"]}
        offsets = column.offsets(type)
        ticks = 1
        for part in reversed(clock_parts(type)):
            ticks *= CLOCK_PARTS[part]
            local = 0
            if offsets is not None:
                shifts = offsets.offsets * arrow.TICKS[arrow.plain(type).unit]
                local = int(np.gcd.reduce(shifts))
            if part in single and sketch.divisor % ticks == local % ticks == 0:
                kept[part] = 0
        if FOLD in single and (offsets is None or not offsets.repeat_any()):
            kept[FOLD] = 0
        single = kept
    if len(single) == len(shares):
        del single[next(iter(single))]
    return {part: single[part] for part in shares if part in single}


def _days(found: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the local dates of values in days since 1970."""
    return join_dates(*(found[part].astype(np.int64) for part in DATE_PARTS))


def _part_variables(
    column: CalendarColumn,
    shares: Mapping[str, EmpiricalDistribution],
    days: EmpiricalDistribution | None,
    parent: int | None,
) -> list[Variable]:
    """Return the variables of the parts of a column.

    Args:
        column: The column without variables.
        shares: Distributions of its parts.
        days: Distribution of its dates in days since 1970; None of times of day.
        parent: Index of its state variable, if any.
    """
    variables = []
    for part in column.parts:
        variable = _part_variable(column, part, shares[part], parent)
        if part in ("month", "day") and days is not None:
            variable = _with_date(variable, column, part, days)
        variables.append(variable)
    return variables


def _part_variable(
    column: CalendarColumn,
    part: str,
    given: EmpiricalDistribution,
    parent: int | None,
) -> Variable:
    """Return the variable of a part, without what it says of the date."""
    name = f"{column.name}.{part}"
    size = CODES.get(part, 0)
    if part == "year" and column.first_year:
        size = int(given.values[-1]) - column.first_year + 1
    if size:
        codes = given.values - column.zero_of(part)
        counts = np.bincount(codes, given.counts, minlength=size)
        return Variable(
            name,
            "binary" if part == FOLD else "categorical",
            0,
            size=size,
            parent=parent,
            frequencies=smoothed_shares(counts.tolist()),
            cyclic=part in CYCLIC,
        )
    if part == "year":
        ends = float(given.values[0]), float(given.values[-1])
        return integer_variable(name, given, parent, *ends)
    return integer_variable(name, given, parent, 0, CLOCK_PARTS[part] - 1)


def _with_date(
    variable: Variable, column: CalendarColumn, part: str, days: EmpiricalDistribution
) -> Variable:
    """Return the variable of a month or day with the date that it determines.

    Args:
        variable: The variable.
        column: Its column without variables.
        part: Name of the part.
        days: Distribution of the dates in days since 1970.
    """
    own = column.parts.index(part)
    before = column.parts[: own + 1]
    constants = dict(column.constants)
    distances = [own - before.index(p) if p in before else -1 for p in DATE_PARTS]
    knots: tuple[float, ...] = ()
    if part == "day" or "day" not in column.parts:
        knots = tuple(sorted(float(knot) for knot in quantile_knots(days)))
    return replace(
        variable,
        location=float(days.quantile(0.5)),
        scale=robust_spread(days),
        knots=knots,
        date=tuple(constants.get(p, column.zero_of(p)) for p in DATE_PARTS),
        date_distances=tuple(distances),
    )
