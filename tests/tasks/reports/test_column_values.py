import datetime

import numpy as np
import pyarrow as pa
import pytest

from tasks.reports.column_values import to_numbers, to_strings


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None], pa.int8()), [1, np.nan]),
        (pa.array([1.5, 2.5]).dictionary_encode(), [1.5, 2.5]),
        (pa.array([datetime.date(1970, 1, 3)]), [2]),
        (pa.array([7], pa.timestamp("ms")), [7]),
        (pa.array([1], pa.decimal128(5, 2)), [1]),
    ],
)
def test_numbers_and_times_become_floats(
    array: pa.Array, expected: list[float]
) -> None:
    numbers = to_numbers(pa.chunked_array([array]))
    assert numbers is not None
    np.testing.assert_array_equal(numbers, expected)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.array([b"\x0f", None]), ["0f", None]),
        (pa.array([True, False]), ["true", "false"]),
    ],
)
def test_other_values_become_strings(array: pa.Array, expected: list[str]) -> None:
    column = pa.chunked_array([array])
    assert to_numbers(column) is None
    assert to_strings(column).to_pylist() == expected
