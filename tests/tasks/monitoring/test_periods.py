import datetime

import pyarrow as pa
import pytest

from ar_models.tables.encoder import TableEncoder
from tasks.config.monitor import MonitorConfig
from tasks.monitoring import periods
from tests.support.columns import fit_columns

DAYS = [datetime.date(2026, 1, 30), datetime.date(2026, 2, 1), None]


@pytest.fixture(scope="module")
def encoder() -> TableEncoder:
    """Return an encoder of a rare and two frequent colours."""
    colours = ["red"] * 30 + ["blue"] * 20 + ["green"]
    return fit_columns(pa.table({"colour": colours}))


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("day", ["2026-01-30", "2026-02-01", "no date"]),
        ("week", ["2026-01-26", "2026-01-26", "no date"]),
        ("month", ["2026-01", "2026-02", "no date"]),
    ],
)
@pytest.mark.parametrize("type", [pa.date32(), pa.timestamp("us"), pa.date64()])
def test_periods_have_the_name_of_their_first_day(
    encoder: TableEncoder, by: str, names: list[str], type: pa.DataType
) -> None:
    table = pa.table({"day": pa.array(DAYS, pa.date32()).cast(type)})
    assert periods.period_names(encoder, table, "day", by).tolist() == names


def test_timestamps_count_in_their_time_zone(encoder: TableEncoder) -> None:
    late = [datetime.datetime(2026, 1, 31, 23, 30, tzinfo=datetime.UTC)]
    table = pa.table({"t": pa.array(late, pa.timestamp("ms", "Europe/Berlin"))})
    assert periods.period_names(encoder, table, "t", "month").tolist() == ["2026-02"]


def test_rows_are_divided_in_the_order_of_time(encoder: TableEncoder) -> None:
    days = pa.array([DAYS[1], DAYS[0], DAYS[1]], pa.date32())
    table = pa.table({"day": days, "n": [1, 2, 3]})
    division = periods.division(encoder, table.schema, MonitorConfig(by="day"))
    assert division == periods.Division("day", "day")
    found = {
        name: part["n"].to_pylist()
        for name, part in periods.divide(encoder, table, division)
    }
    assert found == {"2026-01-30": [2], "2026-02-01": [1, 3]}


def test_the_only_column_of_dates_divides_the_rows(encoder: TableEncoder) -> None:
    schema = pa.schema([("day", pa.date32()), ("n", pa.int64())])
    assert periods.time_column(encoder, schema, MonitorConfig(by="day")) == "day"
    two = schema.append(pa.field("t", pa.timestamp("s")))
    assert periods.division(encoder, two, MonitorConfig()) is None
    named = MonitorConfig(by="day", time="t")
    assert periods.time_column(encoder, two, named) == "t"


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (None, r"2 columns hold dates or timestamps \(\['day', 't'\]\)"),
        ("n", "column 'n' is int64; name a column of dates .* such as 'day'"),
        ("dai", "no column 'dai'; did you mean 'day'"),
    ],
)
def test_a_time_that_is_not_clear_is_an_error(
    encoder: TableEncoder, time: str | None, message: str
) -> None:
    fields = [("day", pa.date32()), ("n", pa.int64()), ("t", pa.timestamp("s"))]
    with pytest.raises(ValueError, match=message):
        periods.time_column(encoder, pa.schema(fields), MonitorConfig(time=time))


def test_new_categories_are_counted_and_rare_ones_are_not_new(
    encoder: TableEncoder,
) -> None:
    table = pa.table({"colour": ["red", "green", "pink", None, "pink"]})
    found = periods.new_categories(encoder, table)
    assert found == {"colour": {"pink": 2}}
    both = periods.add_categories(found, {"colour": {"pink": 1, "grey": 4}, "b": {}})
    assert both == {"colour": {"pink": 3, "grey": 4}, "b": {}}
    assert periods.describe_new({"new_categories": both | {"b": {"x": 1000}}}) == (
        "colour: pink (3), grey (4); b: x (1,000)"
    )
