import numpy as np
import pyarrow as pa
import pytest

from tasks.data.columns.numbers import integer_variable, number_column, robust_spread
from tasks.data.counts import EmpiricalDistribution
from tests.support.sketching import sketched


@pytest.mark.parametrize(
    ("array", "names"),
    [
        (pa.array([1, 2, 3]), ["a"]),
        (pa.array([0, 1 << 40]), ["a.high", "a.digit1", "a.digit0"]),
        (pa.array([0, 86400], pa.timestamp("s")), ["a.day"]),
        (pa.array([0, 60], pa.timestamp("s")), ["a.day", "a.hour", "a.minute"]),
        (pa.array([3600, 7200], pa.time32("s")), ["a.hour"]),
    ],
)
def test_a_number_has_as_many_digits_as_it_needs(
    array: pa.Array, names: list[str]
) -> None:
    column = number_column("a", array.type, sketched(array))
    assert [v.name for v in column.variables] == names


@pytest.mark.parametrize(
    ("array", "bounds"),
    [
        (pa.array([1, 2], pa.uint8()), (0, 255)),
        (pa.array([-1, 2], pa.int8()), (-128, 127)),
        (pa.array([1, 2], pa.int8()), (0, 127)),
    ],
)
def test_bounds_follow_from_the_type_and_the_sign(
    array: pa.Array, bounds: tuple[int, int]
) -> None:
    (variable,) = number_column("a", array.type, sketched(array)).variables
    assert (variable.lower, variable.upper) == bounds


def test_values_that_repeat_are_atoms() -> None:
    given = EmpiricalDistribution(np.array([0, 1, 7]), np.array([90.0, 8.0, 2.0]))
    variable = integer_variable("a", given, None, None, None)
    assert variable.atoms == (0.0, 1.0)
    assert sum(variable.frequencies) == pytest.approx(1)


def test_the_spread_of_a_normal_distribution_is_its_standard_deviation() -> None:
    values = np.sort(np.random.default_rng(0).normal(scale=30, size=20_000))
    given = EmpiricalDistribution(values, np.ones(len(values)))
    assert robust_spread(given) == pytest.approx(30, rel=0.05)
    assert robust_spread(EmpiricalDistribution(np.array([3]), np.ones(1))) == 0.5
