from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.calendar_column import CalendarColumn
from ar_models.tables.columns import IN_SUPPORT, OUT_OF_RANGE
from tasks.data.columns.calendars import calendar_column
from tests.support.sketching import sketched


def column_of(array: pa.Array, max_distinct: int = 1 << 14) -> CalendarColumn:
    column = calendar_column("t", array.type, sketched(array, max_distinct))
    assert column is not None
    return column


@pytest.mark.parametrize(
    ("array", "parts"),
    [
        (pa.array([0, 86400 * 50], pa.timestamp("s")), "month day"),
        (pa.array([0, 86400], pa.timestamp("s")), "day"),
        (pa.array([0, 60], pa.timestamp("s")), "minute"),
        (pa.array([0, 3600 * 24 * 367 + 60], pa.timestamp("s")), "year day minute"),
        (pa.array([1, 2_001_000], pa.timestamp("us")), "second ms us"),
        (pa.array([0, 18_000], pa.time32("s")), "hour"),
        (pa.array([5, 5], pa.date32()), "year"),
    ],
)
def test_only_parts_that_vary_are_variables(array: pa.Array, parts: str) -> None:
    column = column_of(array)
    assert list(column.parts) == parts.split()
    assert [v.name for v in column.variables] == [f"t.{p}" for p in column.parts]


def test_a_rough_sketch_leaves_no_part_out_that_may_vary() -> None:
    rng = np.random.default_rng(0)
    minutes = rng.permutation(3_000_000)[:20_000]
    minutes = minutes - minutes % 1440 % 60  # full hours
    minutes[7] += 30
    exact = pa.array(np.unique(minutes) * 60).view(pa.timestamp("s"))
    column = column_of(exact, max_distinct=100)
    assert list(column.parts) == ["year", "month", "day", "hour", "minute"]
    assert dict(column.constants) == {"second": 0}
    zoned = column_of(exact.view(pa.timestamp("s", "Europe/Berlin")), max_distinct=100)
    assert list(zoned.parts) == ["year", "month", "day", "hour", "minute", "fold"]


def test_many_years_are_an_integer() -> None:
    days = pa.array(np.arange(-700_000, 10_000, 97, dtype=np.int32), pa.date32())
    column = column_of(days)
    year = column.variables[0]
    assert (year.kind, year.lower, year.upper) == ("integer", 53, 1997)
    assert column.variables[2].date == (0, 1, 1)


def test_a_date_knows_its_parts() -> None:
    days = [datetime(2020, 5, 1) + timedelta(days=i) for i in range(900)]
    month, day = column_of(pa.array(days, pa.timestamp("s"))).variables[1:]
    assert (month.date, month.date_distances) == ((2020, 1, 1), (1, 0, -1))
    assert (day.date, day.date_distances) == ((2020, 1, 1), (2, 1, 0))
    assert month.cyclic
    assert len(day.knots) > 10
    (alone,) = column_of(pa.array(days[:20], pa.timestamp("s"))).variables
    assert (alone.date, alone.date_distances) == ((2020, 5, 1), (-1, -1, 0))


@pytest.mark.parametrize(
    ("far", "is_far"),
    [
        (date(9999, 12, 31), True),
        (date(1900, 1, 1), True),
        (date(2025, 1, 1), False),  # nearer than five years
    ],
)
def test_only_far_dates_are_sentinels(far: date, is_far: bool) -> None:
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(700)]
    column = column_of(pa.array([*days, far]))
    assert len(column.atoms) == is_far
    low, high = (
        date(1970, 1, 1) + timedelta(days=d) for d in (column.low, column.high)
    )
    assert (low, high) == (days[0], days[-1] if is_far else far)


def test_dates_of_birth_over_a_century_have_no_sentinels() -> None:
    days = pa.array(np.arange(-20_000, 15_000, 13, dtype=np.int32), pa.date32())
    early = pa.array([date(1900, 1, 1)] * 30)
    assert column_of(pa.concat_arrays([days, early])).atoms == ()


def test_values_without_a_date_leave_no_column() -> None:
    array = pa.array([2**60, 2**61], pa.int64()).view(pa.timestamp("s"))
    assert calendar_column("t", array.type, sketched(array)) is None


@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_all_times_of_the_first_and_the_last_day_are_in_support(
    zone: str | None,
) -> None:
    naive = [
        datetime(2024, 3, 1, 9, 30) + timedelta(minutes=17 * i) for i in range(900)
    ]
    type = pa.timestamp("s", zone)
    column = column_of(pa.array(naive, pa.timestamp("s")).view(type))
    low, high = (
        pa.array([k], pa.int64()).view(type)[0] for k in (column.low, column.high)
    )

    local = [value.as_py().replace(tzinfo=None) for value in (low, high)]
    assert [moment.strftime("%H:%M:%S") for moment in local] == ["00:00:00", "23:59:59"]
    first = pa.array([column.low - 60, column.low], pa.int64()).view(type)
    assert column.encode(first, type).out_of_support.tolist() == [
        OUT_OF_RANGE,
        IN_SUPPORT,
    ]
