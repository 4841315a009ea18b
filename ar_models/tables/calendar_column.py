"""Columns of dates, timestamps and times of day, by the parts of the calendar."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.arrow import SECONDS_OF_DAY
from ar_models.tables.cell_states import fill_states, place_states
from ar_models.tables.columns import (
    IN_SUPPORT,
    MISSING,
    OUT_OF_RANGE,
    SPECIALS,
    Coded,
    Column,
)
from ar_models.tables.later_dates import shift_back
from ar_models.tables.lookup import lookup
from ar_models.tables.time_zone import ZoneOffsets, zone_offsets
from ar_models.variables import Variable

DATE_PARTS = ("year", "month", "day")

CLOCK_PARTS = {
    "hour": 24,
    "minute": 60,
    "second": 60,
    "ms": 1000,
    "us": 1000,
    "ns": 1000,
}
"""Numbers of values of the parts of a time of day, the last ones of its fraction."""

FOLD = "fold"
"""The part that says whether a local time occurs for the second time."""

FIRST_PARTS = {"year": 0, "month": 1, "day": 1}
"""Values of the parts of a date that have code 0; a year has another if it is coded."""

YEARS = (1, 9999)
"""First and last year of the dates that Python and SQL know."""

MARGIN = 3660
"""Number of days before and after the range of a column whose parts it knows."""

UTC_NAMES = (None, "UTC", "Etc/UTC", "GMT", "Z", "+00:00")
"""Time zones of timestamps that are divided as they are."""

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


@dataclass(frozen=True)
class CalendarColumn(Column):
    """A column of dates, timestamps or times of day: year, month, day, hour and so on.

    A timestamp with a time zone has the parts of its local time, and where a local time
    occurred twice in training, a variable that says whether it is the second one.

    A day after the end of its month, such as 30 February, is decoded as the last day of
    the month, a local time that the change to summer time skips as a later one, and a
    date outside the range of the training rows as the end of the range. The model's
    probability of these impossible values is lost.

    A date soon after those of the training rows has the variables of the last date like
    it, see `shift_back`: time moves on, and the model knows nothing of its future.
    Another date before or after the training rows is out of support, but the variables
    of its month, hour and so on are present, so that later columns know them;
    log-probabilities add theirs to that of a cell out of support.

    Attributes:
        states: Names of the codes of the state variable before the atoms.
        atoms: Values far from all others that have codes of their own, such as
            9999-12-31, ascending, in the type's units.
        parts: Names of the parts that are variables.
        constants: The other parts of the type with their value in all training rows.
        first_year: The year with code 0.
        low: Least value, in the type's units: that of the training rows except atoms,
            or the beginning of its day.
        high: Greatest value, likewise.
    """

    states: tuple[str, ...] = ()
    atoms: tuple[int, ...] = ()
    parts: tuple[str, ...] = ()
    constants: tuple[tuple[str, int], ...] = ()
    first_year: int = 0
    low: int = 0
    high: int = 0

    form: ClassVar[str] = "calendar"

    @property
    def specials_seen(self) -> tuple[str, ...]:
        return self.states

    def encode(self, array: pa.Array, type: pa.DataType) -> Coded:
        cell = arrow.integers(array, type)
        ticks, outside = cell.values, np.zeros(len(cell.values), bool)
        if arrow.family(type) != "time":
            ticks = self._as_trained(ticks, type)
        if len(ticks) and (ticks.min() < self.low or ticks.max() > self.high):
            outside = (ticks < self.low) | (ticks > self.high)
            ticks = np.clip(ticks, *value_range(type))
        found, over = self.split(ticks, type)
        off = np.zeros(len(ticks), bool) if over is None else over
        unknown_year = np.zeros(len(ticks), bool)
        for part, constant in self.constants:
            if part == "year":
                unknown_year = found[part] != constant
            elif part in found:
                off |= found[part] != constant
        x = np.empty((len(ticks), len(self.variables)), np.float32)
        for place, part in enumerate(self.parts, self.value):
            np.subtract(
                found[part], self.zero_of(part), out=x[:, place], casting="unsafe"
            )
            if part == "year":
                first, last = _bounds(self.variables[place])
                x[(x[:, place] < first) | (x[:, place] > last), place] = np.nan
            elif part in DATE_PARTS and unknown_year.any():
                x[unknown_year, place] = np.nan
        if outside.any():
            room = MARGIN * day_ticks(type)
            off |= (ticks < self.low - room) | (ticks > self.high + room)
        if cell.off is not None:
            off |= cell.off
        if off.any():
            x[off] = np.nan
        return self._with_states(x, outside | off, cell)

    def _as_trained(self, ticks: np.ndarray, type: pa.DataType) -> np.ndarray:
        """Return values of which later ones are replaced by those of training."""
        shift = shift_back(ticks, self.low, self.high, day_ticks(type))
        if shift is None:
            return ticks
        earlier: np.ndarray = ticks - shift
        offsets = self.offsets(type)
        if offsets is None:
            return earlier
        # The time of day is that of the later date, also across a change of the clocks.
        per_second = arrow.TICKS[arrow.plain(type).unit]
        later = shift > 0
        seconds = ticks[later] // per_second
        local = seconds + offsets.shift(seconds)[0] - shift[later] // per_second
        utc = offsets.to_utc(local, np.zeros(len(local), bool))
        earlier[later] = np.clip(
            utc * per_second + ticks[later] % per_second, self.low, self.high
        )
        return earlier

    def split(
        self, ticks: np.ndarray, type: pa.DataType
    ) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
        """Return the parts of values, and where one finer than all of them is not 0.

        Args:
            ticks: Values in units of the type, (n,).
            type: Arrow type of the column.

        Returns:
            The parts by name, (n,) each, and a mask (n,), None if it is false
            everywhere.
        """
        found: dict[str, np.ndarray] = {}
        offsets = self.offsets(type)
        if offsets is not None:
            per_second = arrow.TICKS[arrow.plain(type).unit]
            seconds = ticks // per_second if per_second > 1 else ticks
            shift, found[FOLD] = offsets.shift(seconds)
            ticks = ticks + shift * per_second
        step, clock = self._clock(type)
        rest, over = ticks, None
        if step > 1:
            rest = ticks // step
            over = rest * step != ticks
        per_day = math.prod(CLOCK_PARTS[part] for part in clock)
        days = rest // per_day if per_day > 1 else rest
        if clock:
            # Divisions of narrow integers are faster.
            narrow = np.int32 if per_day < 1 << 31 else np.int64
            of_day = (rest - days * per_day).astype(narrow)
            for part in reversed(clock):
                above = of_day // CLOCK_PARTS[part]
                found[part] = of_day - above * CLOCK_PARTS[part]
                of_day = above
        if arrow.family(type) == "time":
            beyond = days != 0
            return found, beyond if over is None else over | beyond
        first, last = self.days(type)
        table = date_table(first - MARGIN, last + MARGIN)
        row = days - (first - MARGIN)
        dates = table.take(np.clip(row, 0, len(table) - 1), axis=0)
        return found | dict(zip(DATE_PARTS, dates.T, strict=True)), over

    def _with_states(
        self, x: np.ndarray, outside: np.ndarray, cell: arrow.Cells
    ) -> Coded:
        """Return the variables with those of states, given the parts of all cells."""
        out_of_support = np.where(outside, OUT_OF_RANGE, IN_SUPPORT).astype(np.int8)
        states = None
        if self.atoms:
            at = lookup(np.array(self.atoms, np.int64), cell.values)
            states = np.where(at >= 0, len(SPECIALS) + 1 + at, 0)
        regular = place_states(
            x, out_of_support, states, cell.missing, self.states, len(self.atoms)
        )
        if regular is not None:
            x[~regular, self.value :] = np.nan
        x[out_of_support == MISSING] = np.nan
        return Coded(x, out_of_support)

    def _clock(self, type: pa.DataType) -> tuple[int, list[str]]:
        """Return ticks per unit of the finest part of the day, and these parts."""
        constants = dict(self.constants)
        clock = clock_parts(type)
        step = 1
        while clock and constants.get(clock[-1]) == 0:
            step *= CLOCK_PARTS[clock.pop()]
        return step, clock

    def days(self, type: pa.DataType) -> tuple[int, int]:
        """Return the days since 1970 in UTC of the least and the greatest value."""
        return self.low // day_ticks(type), self.high // day_ticks(type)

    def offsets(self, type: pa.DataType) -> ZoneOffsets | None:
        """Return the offsets of local time from UTC; None if there is no time zone."""
        zone = zone_of(type)
        if zone is None:
            return None
        first, last = self.days(type)
        return zone_offsets(
            zone, (first - MARGIN) * SECONDS_OF_DAY, (last + MARGIN) * SECONDS_OF_DAY
        )

    def zero_of(self, part: str) -> int:
        """Return the value of a part that has code 0."""
        return self.first_year if part == "year" else FIRST_PARTS.get(part, 0)

    def decode(
        self, x: np.ndarray, type: pa.DataType, rng: np.random.Generator
    ) -> pa.Array:
        absent = np.isnan(x[:, self.value])
        found = {part: np.full(len(x), value) for part, value in self.constants}
        for place, part in enumerate(self.parts, self.value):
            codes = np.nan_to_num(np.rint(x[:, place])).astype(np.int64)
            found[part] = codes + self.zero_of(part)
        ticks = np.clip(self._join(found, type), self.low, self.high)
        if self.states:
            codes = np.nan_to_num(x[:, 0], nan=1).astype(np.int64)
            at = codes >= len(self.states)
            atoms = np.asarray(self.atoms, np.int64)
            ticks[at] = atoms[codes[at] - len(self.states)]
            absent = fill_states(ticks, codes, np.isnan(x[:, 0]), self.states)
        return arrow.from_integers(ticks, absent if absent.any() else None, type)

    def _join(self, found: dict[str, np.ndarray], type: pa.DataType) -> np.ndarray:
        """Return the values that have given parts, of impossible ones the nearest."""
        ticks: np.ndarray = np.zeros(len(next(iter(found.values()))), np.int64)
        if arrow.family(type) != "time":
            first, last = self.days(type)
            days = join_dates(found["year"], found["month"], found["day"])
            ticks = np.clip(days, first - 1, last + 1)
        for part in clock_parts(type):
            ticks = ticks * CLOCK_PARTS[part] + found[part]
        offsets = self.offsets(type)
        if offsets is not None:
            per_second = arrow.TICKS[arrow.plain(type).unit]
            local = ticks // per_second
            utc = offsets.to_utc(local, found[FOLD] == 1)
            ticks = ticks + (utc - local) * per_second
        return ticks

    def values_of(self, values: np.ndarray, type: pa.DataType) -> pa.Array:
        x = np.zeros((len(values), len(self.variables)), np.float32)
        x[:, self.value] = values
        if self.states:
            x[np.isnan(values), 0] = np.nan
        return self.decode(x, type, np.random.default_rng(0))

    def labels(self, type: pa.DataType) -> list[str]:
        if not self.states:
            return []
        atoms = arrow.from_integers(np.asarray(self.atoms, np.int64), None, type)
        return list(self.states) + [str(atom) for atom in arrow.python_values(atoms)]

    def code_names(self, variable: int) -> list[str]:
        """Return the names of the codes of a part, such as January and February."""
        part, size = self.parts[variable - self.value], self.variables[variable].size
        if part == "month":
            return list(MONTHS)
        if part == FOLD:
            return ["first", "second"]
        return [str(code + self.zero_of(part)) for code in range(size)]


def clock_parts(type: pa.DataType) -> list[str]:
    """Return the parts of the day that a type distinguishes, coarse ones first."""
    if arrow.family(type) == "date":
        return []
    fractions = {"s": 0, "ms": 1, "us": 2, "ns": 3}[arrow.plain(type).unit]
    return list(CLOCK_PARTS)[: 3 + fractions]


def all_parts(type: pa.DataType) -> list[str]:
    """Return all parts of the values of a type."""
    dates = [] if arrow.family(type) == "time" else list(DATE_PARTS)
    return [*dates, *clock_parts(type), *([FOLD] if zone_of(type) else [])]


def day_ticks(type: pa.DataType) -> int:
    """Return the number of units of a type in a day."""
    if arrow.family(type) == "date":
        return 1
    return SECONDS_OF_DAY * arrow.TICKS[arrow.plain(type).unit]


def value_range(type: pa.DataType) -> tuple[int, int]:
    """Return the least and the greatest value of a type that can be divided."""
    if arrow.family(type) == "time":
        return 0, day_ticks(type) - 1
    return arrow.calendar_range(arrow.plain(type))


def zone_of(type: pa.DataType) -> str | None:
    """Return the time zone of a type, None if it has none or that of UTC."""
    if arrow.family(type) != "timestamp":
        return None
    zone: str | None = arrow.plain(type).tz
    return None if zone in UTC_NAMES else zone


@lru_cache(maxsize=64)
def date_table(first: int, last: int) -> np.ndarray:
    """Return year, month and day of all days between two ones, (days, 3) float32."""
    days = np.arange(first, last + 1).astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    of_era = months.astype(np.int64)
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    parts = np.stack([1970 + of_era // 12, of_era % 12 + 1, day], axis=1)
    return parts.astype(np.float32)


def join_dates(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return dates in days since 1970; a day after the end of its month is its end."""
    of_era = (np.clip(year, *YEARS) - 1970) * 12 + month - 1
    start, after = (
        (of_era + more).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
        for more in (0, 1)
    )
    return np.asarray(np.minimum(start + day - 1, after - 1))


def _bounds(variable: Variable) -> tuple[float, float]:
    """Return the least and the greatest value of a year's variable."""
    if variable.size:
        return 0, variable.size - 1
    assert variable.lower is not None
    assert variable.upper is not None
    return variable.lower, variable.upper
