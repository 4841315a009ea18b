"""The range of a column's values that sampled rows stay in: observed or configured."""

import datetime
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.calendar_column import CalendarColumn, zone_of
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import Column
from ar_models.tables.number_column import NumberColumn
from ar_models.tables.real_column import RealColumn
from tasks.config.data import Bound, ColumnConfig
from tasks.data.columns.sentinels import known_values
from tasks.data.sketches import NumberSketch

BOUNDED = (*arrow.NUMBERS, *arrow.MOMENTS)
"""Families of types whose columns can have configured bounds."""


def with_range(
    column: Column,
    type: pa.DataType,
    sketch: NumberSketch,
    override: ColumnConfig | None,
) -> Column:
    """Return a column of numbers, dates or times with the range of its samples.

    Args:
        column: The column.
        type: Arrow type of the column.
        sketch: Sketch of its training rows.
        override: Its configured bounds replace those of the training rows.

    Raises:
        ValueError: A bound does not fit the type, or none lies below the other.
    """
    low = high = None
    if isinstance(column, NumberColumn | RealColumn | CalendarColumn):
        low, high = _observed(column, type, sketch)
    if override is not None and override.min is not None:
        low = _bound(column.name, "min", override.min, type)
    if override is not None and override.max is not None:
        high = _bound(column.name, "max", override.max, type)
    if low is None and high is None:
        return column
    is_real = arrow.family(type) == "real"
    top = float(np.finfo(np.float64).max)
    limits = (-top, top) if is_real else (-(2**63), 2**63 - 1)
    low = limits[0] if low is None else low
    high = limits[1] if high is None else high
    if low > high:
        raise ValueError(
            f"data.columns.{column.name}: the least value of samples, min or that of "
            "the training rows, lies above the greatest; correct min and max"
        )
    if isinstance(column, CodeColumn):
        _check_codes(column, type, low, high)
    return replace(column, range=(low, high))


def _observed(
    column: NumberColumn | RealColumn | CalendarColumn,
    type: pa.DataType,
    sketch: NumberSketch,
) -> tuple[int | float | None, int | float | None]:
    """Return the least and the greatest value of the training rows, without atoms."""
    low, high = sketch.low, sketch.high
    if (
        low in column.atoms
        or high in column.atoms
        or isinstance(column, CalendarColumn)
    ):
        values = known_values(sketch).values
        values = values[~np.isin(values, np.array(column.atoms, values.dtype))]
        if isinstance(column, CalendarColumn):
            values = values[(values >= column.low) & (values <= column.high)]
        if not len(values):
            return None, None
        low, high = values[0].item(), values[-1].item()
    if low is None or sketch.is_integer or arrow.family(type) == "real":
        return low, high
    # Integers or decimals that are modelled as reals.
    cells = arrow.from_reals(np.array([low, high]), None, arrow.plain(type))
    low, high = arrow.integers(cells, type).values.tolist()
    return low, high


def check_bounds(name: str, type: pa.DataType, override: ColumnConfig) -> None:
    """Raise ValueError if the configured bounds of a column do not fit its type."""
    for key, bound in (("min", override.min), ("max", override.max)):
        if bound is not None:
            _bound(name, key, bound, type)


def _bound(name: str, key: str, bound: Bound, type: pa.DataType) -> int | float:
    """Return a configured bound in units of a type.

    Raises:
        ValueError: The bound does not fit the type.
    """
    family = arrow.family(type)
    is_moment = isinstance(bound, datetime.date)
    if family not in BOUNDED or is_moment != (family in arrow.MOMENTS):
        wanted = "a date" if family in arrow.MOMENTS else "a number"
        advice = f"give {wanted}" if family in BOUNDED else "remove it"
        raise ValueError(
            f"data.columns.{name}.{key}: {bound!s} is not a valid bound of a column of "
            f"type {type}; {advice}"
        )
    if family == "real":
        assert isinstance(bound, int | float)
        return float(bound)
    if isinstance(bound, datetime.date):
        return moment_units(bound, type, is_last=key == "max")
    scale = arrow.plain(type).scale if family == "decimal" else 0
    rounding = ROUND_CEILING if key == "min" else ROUND_FLOOR
    units = int(Decimal(str(bound)).scaleb(scale).to_integral_value(rounding))
    return units - (2**63 if pa.types.is_uint64(arrow.plain(type)) else 0)


def moment_units(bound: datetime.date, type: pa.DataType, *, is_last: bool) -> int:
    """Return a date or timestamp in units of a type; without a zone it is local time.

    Args:
        bound: The date or timestamp.
        type: Type of dates or timestamps.
        is_last: Whether a date stands for the end of the day, not for its beginning.
    """
    is_day = not isinstance(bound, datetime.datetime)
    moment = pa.array([bound])
    if arrow.family(type) == "date":
        days: int = arrow.integers(moment.cast(pa.date32(), safe=False), type).values[0]
        return int(days)
    if is_day and is_last:
        moment = pa.array([bound + datetime.timedelta(days=1)])
    zone = zone_of(type)
    if moment.type != pa.timestamp("us", "UTC") and zone is not None:
        local = moment.cast(pa.timestamp("us"))
        moment = pc.assume_timezone(local, zone, ambiguous="earliest")
    ticks = int(arrow.integers(moment, type).values[0])
    return ticks - 1 if is_day and is_last else ticks


def _check_codes(
    column: CodeColumn, type: pa.DataType, low: int | float, high: int | float
) -> None:
    """Raise ValueError if a category of numbers lies outside configured bounds."""
    known = column.values_of(np.arange(len(column.values)), type)
    if arrow.family(type) == "real":
        values = arrow.reals(known).values
    else:
        values = arrow.integers(known, type).values
    outside = (values < low) | (values > high)
    if outside.any():
        value = known[int(np.flatnonzero(outside)[0])]
        raise ValueError(
            f"data.columns.{column.name}: {value} lies outside min and max, and "
            "samples of a categorical column have the values of the training rows; "
            "give it the kind integer or real, or remove the bounds"
        )
