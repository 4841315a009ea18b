import numpy as np
import pytest

from tasks.data.columns.intervals import (
    MAX_LEAVES,
    decimal_edges,
    divide,
    frequencies,
)
from tasks.data.columns.numbers import integer_variable
from tasks.data.counts import EmpiricalDistribution

RNG = np.random.default_rng(0)
CLOCK_TIMES = 100 * RNG.integers(5, 24, 6000) + RNG.integers(0, 60, 6000)
ROUND_AMOUNTS = np.where(
    RNG.random(6000) < 0.6,
    500 * RNG.integers(1, 200, 6000),
    RNG.integers(1, 100_000, 6000),
)
SMOOTH = np.rint(RNG.normal(3000, 400, 6000)).astype(np.int64)


def distribution(values: np.ndarray) -> EmpiricalDistribution:
    """Return the distribution of integers."""
    return EmpiricalDistribution.of(values.astype(np.int64), np.ones(len(values)))


@pytest.mark.parametrize(
    ("values", "divided"),
    [
        (CLOCK_TIMES, True),
        (ROUND_AMOUNTS, True),
        (SMOOTH, False),
        (CLOCK_TIMES[:200], False),
    ],
)
def test_only_numbers_with_structure_are_divided(
    values: np.ndarray, divided: bool
) -> None:
    given = distribution(values)
    variable = integer_variable("a", given, None, 0, None)

    found = divide(variable, given)

    assert bool(found.edges) == divided
    if divided:
        assert found.atoms == ()
        assert found.edges[0] >= 0


@pytest.mark.parametrize(
    "values", [CLOCK_TIMES, ROUND_AMOUNTS, SMOOTH, -SMOOTH, SMOOTH % 90 - 40]
)
def test_edges_are_aligned_and_hold_all_values(values: np.ndarray) -> None:
    edges = decimal_edges(distribution(values))

    widths = np.diff(edges)
    powers = np.rint(np.log10(widths))
    assert (widths == 10**powers).all()
    assert (np.asarray(edges[:-1]) % widths == 0).all()
    assert edges[0] <= values.min() and values.max() < edges[-1]
    assert len(widths) <= max(MAX_LEAVES[0], 100)


def test_a_dominating_value_is_not_divided_further() -> None:
    values = np.r_[np.full(5000, 777), RNG.integers(0, 2000, 1000)]

    edges = decimal_edges(distribution(values))

    assert 777 not in edges


def test_frequencies_are_those_of_leaves_and_digits() -> None:
    given = distribution(np.array([3, 13, 13, 25]))

    leaves, digits = frequencies(given, [0, 10, 20, 30])

    assert np.array(leaves) == pytest.approx(np.array([0.5, 1.5, 2.5, 1.5, 0.5]) / 6.5)
    assert digits.shape == (5, 10)
    assert digits.sum(-1) == pytest.approx(np.ones(5))
    assert digits[2, 3] == pytest.approx((2 + 20 * 3.5 / 9) / 22)


def test_many_separate_values_get_more_intervals() -> None:
    # Such as flight numbers: some 600 of 60,000 values occur.
    values = RNG.choice(np.cumsum(RNG.integers(1, 200, 600)), 12_000)
    given = distribution(values)

    found = divide(integer_variable("a", given, None, 0, None), given)

    assert len(found.edges) > 2 * MAX_LEAVES[0] >= len(decimal_edges(given)) - 1
    assert len(decimal_edges(given, MAX_LEAVES[1])) - 1 <= MAX_LEAVES[1]
    clock = distribution(CLOCK_TIMES)
    plain = divide(integer_variable("b", clock, None, 0, None), clock)
    assert len(plain.edges) <= MAX_LEAVES[0] + 1


def test_bounds_of_the_type_are_kept() -> None:
    given = distribution(CLOCK_TIMES)
    variable = integer_variable("a", given, None, 100, None)
    assert decimal_edges(given)[0] < 100
    assert divide(variable, given).edges == ()
