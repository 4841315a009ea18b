import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.columns import IN_SUPPORT, OUT_OF_RANGE
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


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (np.arange(50) * 10_000, 1000),
        (np.arange(50) * 30, 30),
        (np.arange(50) * 5, 5),
        (np.arange(50) * -5 / 100, 5),
        (np.arange(5) * 100, 1),
        (np.arange(50) * 100.0, 100),
    ],
)
def test_multiples_of_a_number_are_counted_in_it(values: np.ndarray, step: int) -> None:
    array = pa.array(values)
    column = number_column("a", array.type, sketched(array))
    assert column.step == step
    rng = np.random.default_rng(0)
    coded = column.encode(array, array.type)
    assert column.decode(coded.x, array.type, rng).equals(array)


@pytest.mark.parametrize("type", [pa.float64(), pa.float32()])
def test_reals_with_decimals_are_counted_in_steps(type: pa.DataType) -> None:
    prices = np.random.default_rng(0).integers(-200, 900, 8000) / 100
    array = pa.array(np.r_[prices, np.nan]).cast(type)
    column = number_column("a", type, sketched(array))
    assert (column.kind, column.decimals) == ("decimal", 2)

    coded = column.encode(array, type)

    assert coded.log_slope is None
    assert (coded.out_of_support == IN_SUPPORT).all()
    decoded = column.decode(coded.x, type, np.random.default_rng(0))
    assert decoded.slice(0, 8000).equals(array.slice(0, 8000))
    beside = column.encode(pa.array([1.005, 1e30, 2.5]).cast(type), type)
    assert beside.out_of_support.tolist() == [OUT_OF_RANGE, OUT_OF_RANGE, IN_SUPPORT]


def test_means_are_moved_to_possible_values() -> None:
    array = pa.array(np.random.default_rng(0).integers(0, 900, 8000) / 100)
    column = number_column("a", array.type, sketched(array))
    found = column.nearest(pa.array([0.123, None, 4.0]), pa.float64())
    assert found.to_pylist() == [0.12, None, 4.0]
