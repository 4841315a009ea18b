from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ar_models.tables.calendar_column import CalendarColumn, join_dates
from ar_models.tables.columns import IN_SUPPORT, MISSING, OUT_OF_RANGE
from ar_models.tables.encoder import TableEncoder
from tests.support.columns import fit_columns

YEAR_2023 = 1_672_531_200


def calendar(array: pa.Array) -> tuple[TableEncoder, CalendarColumn]:
    """Return an encoder of one column of dates or times, and the column."""
    encoder = fit_columns(pa.table({"t": array}))
    column = encoder.columns[0]
    assert isinstance(column, CalendarColumn)
    return encoder, column


def check_round_trip(array: pa.Array) -> CalendarColumn:
    """Check that every value of an array comes back, and return its column."""
    encoder, column = calendar(array)
    encoded = encoder.encode(pa.table({"t": array}))
    assert not encoded.out_of_support.any()
    decoded = encoder.decode(encoded.x).column("t")
    assert decoded.type == array.type
    assert pc.all(pc.equal(decoded, array)).as_py() is not False
    assert decoded.is_null().to_pylist() == array.is_null().to_pylist()
    return column


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize(
    "zone", [None, "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
)
def test_every_half_hour_of_a_year_comes_back(unit: str, zone: str | None) -> None:
    seconds = YEAR_2023 + np.arange(365 * 48) * 1800
    ticks = seconds * 1000 ** ("s", "ms", "us", "ns").index(unit)
    column = check_round_trip(pa.array(ticks).view(pa.timestamp(unit, zone)))
    clocks_change = zone not in (None, "UTC")
    assert ("fold" in column.parts) == clocks_change
    assert dict(column.constants)["second"] == 0


def test_parts_are_those_of_local_time() -> None:
    opening = [datetime(2023, 1, 1, 9) + timedelta(days=i) for i in range(365)]
    local = pa.array(opening, pa.timestamp("us"))
    column = check_round_trip(pc.assume_timezone(local, "America/New_York"))
    assert column.parts == ("month", "day")
    assert dict(column.constants)["hour"] == 9


def test_all_days_of_four_centuries_come_back() -> None:
    days = np.arange("1700-01-01", "2100-01-01", dtype="datetime64[D]").astype(np.int32)
    for type in (pa.date32(), pa.date64()):
        check_round_trip(pa.array(days, pa.date32()).cast(type))


@pytest.mark.parametrize("nulls", [False, True])
def test_far_dates_have_codes_of_their_own(nulls: bool) -> None:
    days = [date(2015, 1, 1) + timedelta(days=i) for i in range(2000)]
    far = [date(9999, 12, 31), date(1900, 1, 1), date(1, 1, 1)]
    array = pa.array([*days, *far * 50, *([None] * 20 if nulls else [])])
    column = check_round_trip(array)
    encoder, _ = calendar(array)
    names = encoder.labels(0)
    assert names[-3:] == ["0001-01-01", "1900-01-01", "9999-12-31"]
    assert ("missing" in names) == nulls
    assert column.variables[1].size == 6  # years


def test_samples_are_dates_in_range() -> None:
    start = date(2015, 3, 10)
    days = [start + timedelta(days=i) for i in range(2000)]
    encoder, _ = calendar(pa.array(days))
    rng = np.random.default_rng(0)
    sizes = [v.size for v in encoder.variables]
    x = np.stack([rng.integers(0, size, 5000) for size in sizes], axis=1)
    decoded = encoder.decode(x.astype(np.float32))
    found = decoded.column("t").to_pylist()
    assert min(found) == days[0]
    assert max(found) == days[-1]
    again = encoder.encode(decoded)
    assert not again.out_of_support.any()


def test_a_day_after_the_end_of_its_month_is_its_last_day() -> None:
    day = np.full(4, 31)
    days = join_dates(np.array([2023, 2024, 2023, 1900]), np.array([2, 2, 4, 2]), day)
    assert days.astype("datetime64[D]").astype(str).tolist() == [
        "2023-02-28",
        "2024-02-29",
        "2023-04-30",
        "1900-02-28",
    ]


@pytest.mark.parametrize(
    "type",
    [pa.timestamp("s"), pa.timestamp("us", "Europe/Berlin"), pa.date32(), pa.date64()],
    ids=str,
)
def test_cells_of_any_value_are_encoded(type: pa.DataType) -> None:
    days = pa.array(np.arange(10_000, 12_000, dtype=np.int32), pa.date32())
    unzoned = pa.timestamp(type.unit) if pa.types.is_timestamp(type) else type
    encoder, _ = calendar(days.cast(unzoned).cast(type))
    bits = 32 if pa.types.is_date32(type) else 64
    info = np.iinfo(f"int{bits}")
    top = info.max if bits == 32 else info.max // 86_400_000 * 86_400_000
    extreme = pa.array([-top, top, 0, None], f"int{bits}").view(type)
    encoded = encoder.encode(pa.table({"t": extreme}))
    assert encoded.out_of_support[:, 0].tolist() == [OUT_OF_RANGE] * 3 + [MISSING]
    assert np.isnan(encoded.x[[0, 1, 3]]).all()


def test_parts_of_a_date_long_after_the_training_rows_stay_known() -> None:
    hours = np.arange(0, 3 * 366 * 24, 5) * 3600 + YEAR_2023
    type = pa.timestamp("s", "Europe/Berlin")
    encoder, column = calendar(pa.array(hours).view(type))
    later = pa.array([datetime(2031, 7, 14, 10)], pa.timestamp("s", "UTC"))
    encoded = encoder.encode(pa.table({"t": later}))
    assert encoded.out_of_support.tolist() == [[OUT_OF_RANGE]]
    codes = dict(zip(column.parts, encoded.x[0].tolist(), strict=True))
    assert np.isnan(codes.pop("year"))
    assert codes == {"month": 6, "day": 13, "hour": 12, "fold": 0}


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_date_soon_after_the_training_rows_is_like_the_last_one(
    zone: str | None,
) -> None:
    naive = [datetime(2024, 1, 1) + timedelta(hours=7 * i) for i in range(300)]

    def moments(values: list[datetime]) -> pa.Array:
        array = pa.array(values, pa.timestamp("s"))
        return pc.assume_timezone(array, zone) if zone else array

    encoder, _ = calendar(moments(naive))  # to 2024-03-28
    later = [datetime(2024, 4, 2, 13, 0), datetime(2024, 3, 29, 20, 0)]
    like = [datetime(2024, 3, 26, 13, 0), datetime(2024, 3, 22, 20, 0)]
    found, expected = (
        encoder.encode(pa.table({"t": moments(values)})) for values in (later, like)
    )
    np.testing.assert_array_equal(found.x, expected.x)
    assert found.out_of_support.tolist() == [[IN_SUPPORT]] * 2
    far = pa.table({"t": moments([datetime(2024, 8, 1), datetime(2023, 12, 31)])})
    assert encoder.encode(far).out_of_support.tolist() == [[OUT_OF_RANGE]] * 2


def test_of_few_days_the_last_one_stands_for_later_ones() -> None:
    days = np.array(["2024-01-01", "2024-01-02", "2024-01-03"], "datetime64[D]")
    encoder, _ = calendar(pa.array(np.repeat(days, 5)))
    table = pa.table({"t": pa.array([date(2024, 1, d) for d in (3, 4, 30)])})
    x = encoder.encode(table).x
    assert (x == x[0]).all()


def test_another_part_than_the_constant_one_is_out_of_support() -> None:
    moments = np.arange(2000) * 3600 + 1800
    encoder, _ = calendar(pa.array(moments).view(pa.timestamp("s")))
    table = pa.table({"t": pa.array([1800, 1860, 1801]).view(pa.timestamp("s"))})
    reasons = [IN_SUPPORT, OUT_OF_RANGE, OUT_OF_RANGE]
    assert encoder.encode(table).out_of_support[:, 0].tolist() == reasons


def test_values_of_the_first_part_are_the_first_dates_with_it() -> None:
    days = pa.array(np.arange(10_957, 12_000, dtype=np.int32), pa.date32())  # 2000
    encoder, column = calendar(days)
    dates = encoder.decode_column(0, np.array([0.0, 1.0, np.nan]))
    assert dates.to_pylist() == [date(2000, 1, 1), date(2001, 1, 1), None]
    assert column.code_names(0) == ["2000", "2001", "2002"]
    assert column.code_names(1)[:2] == ["January", "February"]
