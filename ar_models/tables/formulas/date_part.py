"""Parts of dates and timestamps: year, hour, day of the week and so on."""

from dataclasses import dataclass
from typing import ClassVar, get_args

import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.formulas.choices import Part
from ar_models.tables.formulas.formula import Cells, NullableFormula
from ar_models.tables.formulas.numbers import NUMERIC, from_numbers, numbers

FORMATS: dict[Part, str] = {
    "day_name": "%A",
    "month_name": "%B",
    "short_day_name": "%a",
    "short_month_name": "%b",
}
"""Formats of the parts that are names."""

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class DatePart(NullableFormula):
    """A part of a date or timestamp.

    Attributes:
        column: Name of the column of dates or timestamps.
        part: The part.
        zone: Time zone of the clock and calendar, such as America/New_York. None: that
            of the column's type. Timestamps without a zone are taken for UTC.
    """

    column: str
    part: Part
    zone: str | None = None

    kind: ClassVar[str] = "date_part"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        moments = arrow.flat(cells[self.column])
        plain, wanted = arrow.plain(type), arrow.family(type)
        family = arrow.family(moments.type)
        if family not in arrow.MOMENTS:
            return pa.nulls(len(moments), plain)
        if family == "date":
            moments = moments.cast(pa.timestamp("s"))
        elif self.zone is not None:
            unit = moments.type.unit
            if moments.type.tz is None:
                moments = moments.cast(pa.timestamp(unit, "UTC"))
            moments = moments.cast(pa.timestamp(unit, self.zone))
        if self.part == "date":
            return _date(moments, plain)
        if self.part in FORMATS:
            names = pc.strftime(moments, format=FORMATS[self.part], locale="C")
            return (
                names.cast(plain) if wanted == "text" else pa.nulls(len(names), plain)
            )
        found = _part(moments, self.part)
        if wanted == "text":
            return found.cast(plain)
        return (
            from_numbers(numbers(found), plain)
            if wanted in NUMERIC
            else pa.nulls(len(found), plain)
        )

    def describe(self) -> str:
        zone = f" in {self.zone}" if self.zone else ""
        return f"{self.part.replace('_', ' ')} of {self.column}{zone}"


def _part(moments: pa.Array, part: Part) -> pa.Array:
    """Return a numeric part of timestamps as integers."""
    if part == "day_of_week":
        return pc.day_of_week(moments)
    if part == "iso_day_of_week":
        return pc.day_of_week(moments, count_from_zero=False)
    functions = {
        "year": pc.year,
        "quarter": pc.quarter,
        "month": pc.month,
        "iso_week": pc.iso_week,
        "day": pc.day,
        "day_of_year": pc.day_of_year,
        "hour": pc.hour,
        "minute": pc.minute,
        "second": pc.second,
    }
    return functions[part](moments)


def _date(moments: pa.Array, plain: pa.DataType) -> pa.Array:
    """Return the local dates of timestamps as dates, timestamps or ISO text."""
    if moments.type.tz is not None:
        moments = pc.local_timestamp(moments)
    days = pc.floor_temporal(moments, unit="day").cast(pa.date32())
    family = arrow.family(plain)
    if family == "date":
        return days.cast(plain)
    if family == "timestamp" and plain.tz is None:
        return days.cast(pa.timestamp("s")).cast(plain)
    if family == "text":
        return pc.strftime(days, format="%Y-%m-%d").cast(plain)
    return pa.nulls(len(days), plain)
