import numpy as np
import pytest

from tasks.data.constraints.simple_numbers import (
    digits_of,
    simple_near,
    simplest_between,
    simplify,
    window,
)


@pytest.mark.parametrize(
    ("low", "high", "simplest"),
    [(-0.1, 0.2, 0.0), (31.7, 32.4, 32.0), (273.145, 273.155, 273.15), (4.9, 16, 10.0)],
)
def test_an_interval_holds_one_simplest_number(
    low: float, high: float, simplest: float
) -> None:
    assert simplest_between(low, high) == simplest
    assert simplest_between(-high, -low) == -simplest


def test_simple_numbers_are_near_and_the_simplest_first() -> None:
    near = list(simple_near(0.99999, 0.01))
    assert near[0] == 1.0
    assert all(abs(value - 0.99999) <= 0.01 for value in near)
    assert 1 / 365.25 in list(simple_near(0.002737, 0.01))
    assert list(simple_near(0.0, 0.01)) == []


def test_a_coefficient_becomes_the_simplest_that_fits_as_well() -> None:
    x = np.random.default_rng(0).integers(0, 5000, 2000)
    y = np.round(x / 12, 2)

    def share(coefficients: np.ndarray) -> float:
        return window(y - coefficients[0] * x, 0.01)[2]

    assert simplify(np.array([0.0833332]), share)[0] == 1 / 12


def test_a_window_holds_most_residuals() -> None:
    low, high, share = window(np.array([1.0, 1.1, 1.2, 5.0]), 1.0)
    assert share == 0.75
    assert abs(low - 0.7) < 1e-5
    assert abs(high - 1.5) < 1e-5


def test_long_constants_have_digits() -> None:
    assert [digits_of(v) for v in (0.0, 1.19, 100.0, -0.25)] == [0, 0, 0, 0]
    assert digits_of(1 / 12) == 0
    assert digits_of(0.840336) > 2
