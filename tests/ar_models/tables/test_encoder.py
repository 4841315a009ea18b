import datetime

import numpy as np
import pyarrow as pa
import pytest

from tests.support.columns import fit_columns


@pytest.mark.parametrize(
    "given, message",
    [
        (pa.table({"b": [1]}), r"column 'a' is missing \(trained as int64\)"),
        (pa.table({"a": ["x"]}), "column 'a' is string, which cannot be read as int64"),
        (
            pa.table({"a": [[1]]}),
            "column 'a' is list<.*> which cannot be read as int64",
        ),
        (
            pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
            "column 'a' occurs more than once",
        ),
    ],
)
def test_a_table_that_cannot_be_encoded_says_why(given: pa.Table, message: str) -> None:
    encoder = fit_columns(pa.table({"a": [1, 2, 3]}))
    with pytest.raises(ValueError, match=message.replace("> which", ">, which")):
        encoder.encode(given)


def test_codes_and_quantiles_can_be_read_by_people() -> None:
    table = pa.table(
        {
            "word": ["x", "y", "x", None] * 5,
            "day": pa.array([0, 40, 20, None] * 5, pa.date32()),
            "when": pa.array([0, 86_400, 90_061, 5] * 5, pa.timestamp("s", "UTC")),
            "amount": [0.0, 0.0, 1.5, 2.25] * 5,
        }
    )
    encoder = fit_columns(table, columns={"amount": {"kind": "real"}})
    assert encoder.labels(0) == ["x", "y", "missing"]
    assert encoder.labels(1) == ["regular", "missing"]
    assert encoder.variables[encoder.value_variable(1)].name == "day.month"
    assert encoder.column_of(encoder.value_variable(2)).name == "when"
    assert encoder.decode_column(0, np.array([1])).to_pylist() == ["y"]
    days = encoder.decode_column(1, np.array([1.0, np.nan])).to_pylist()
    assert days == [datetime.date(1970, 2, 1), None]
    moment = encoder.decode_column(2, np.array([1.0])).to_pylist()[0]
    assert moment == datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC)
    assert encoder.labels(3)[:1] == ["regular"]


def test_equal_names_of_variables_are_told_apart() -> None:
    table = pa.table({"a": [1, 2, None, 4], "a.state": [1, 2, 3, 9]})
    names = [v.name for v in fit_columns(table).variables]
    assert len(set(names)) == len(names) == 3
