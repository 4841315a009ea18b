from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.formulas.choices import Rounding
from ar_models.tables.formulas.numbers import (
    from_numbers,
    number_text,
    numbers,
    round_to,
    sum_text,
)


def test_dates_are_days_and_durations_seconds() -> None:
    days = pa.array([date(1970, 1, 3), None])
    assert numbers(days).tolist()[0] == 2
    hours = pa.array([timedelta(hours=1)], pa.duration("ms"))
    assert numbers(hours).tolist() == [3600]
    for array in (days, hours):
        assert from_numbers(numbers(array), array.type).equals(array)


def test_values_that_a_type_cannot_hold_are_null() -> None:
    values = np.array([1.0, 1.5, 300.0, np.nan, np.inf])
    assert from_numbers(values, pa.int8()).to_pylist() == [1] + [None] * 4
    assert from_numbers(values, pa.bool_()).to_pylist() == [True] + [None] * 4
    assert from_numbers(values, pa.string()).null_count == 5


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("half_up", [0.2, -0.2, 0.4, 1.0]),
        ("half_even", [0.2, -0.2, 0.4, 1.0]),
        ("floor", [0.1, -0.2, 0.3, 1.0]),
    ],
)
def test_values_a_rounding_error_from_a_half_round_like_it(
    rounding: Rounding, expected: list[float]
) -> None:
    values = np.array([0.15, -0.15, 0.35, 1.0000000001])
    assert round_to(values, 1, rounding).tolist() == expected


def test_numpy_rounds_what_floating_point_numbers_are() -> None:
    values = 0.19 * np.round(np.arange(0.5, 200, 0.5), 2)
    assert round_to(values, 2, "numpy").tolist() == np.round(values, 2).tolist()
    assert round_to(values, 2, "half_up").tolist() != np.round(values, 2).tolist()


def test_negative_decimals_round_to_tens() -> None:
    assert round_to(np.array([125.0]), -1, "half_up").tolist() == [130]
    assert round_to(np.array([125.0]), -1, "half_even").tolist() == [120]


def test_formulas_are_written_as_people_write_them() -> None:
    assert sum_text([("a", -1.0), ("b", 2.5)], -3.0) == "-a + 2.5 * b - 3"
    assert sum_text([], 0) == "0"
    assert number_text(1 / 3) == "0.333333"
