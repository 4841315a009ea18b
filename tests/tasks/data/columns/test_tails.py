import math

import numpy as np
import pytest

from tasks.data.columns.tails import MAX_SHAPE, pareto_tails
from tasks.data.counts import EmpiricalDistribution

ROWS = 20_000
RNG = np.random.default_rng(0)
HEAVY = np.rint(1000 * RNG.pareto(2, ROWS))
LOGNORMAL = np.rint(100 * RNG.lognormal(4, 1, ROWS))
EXPONENTIAL = np.rint(RNG.exponential(300, ROWS))


def fitted(values: np.ndarray) -> tuple[float, float, float, float]:
    """Return the tails beyond the least and the greatest integer."""
    given = EmpiricalDistribution.of(values.astype(np.int64), np.ones(len(values)))
    return pareto_tails(given, values.min(), values.max() + 1, values.std() / 2)


def survival(distance: float, scale: float, shape: float) -> float:
    """Return the probability of at least a distance."""
    return float((1 + shape * distance / scale) ** (-1 / shape))


@pytest.mark.parametrize(
    ("values", "shape"), [(HEAVY, 0.5), (EXPONENTIAL, 0.05), (-HEAVY, 0.5)]
)
def test_the_shape_is_that_of_the_distribution(
    values: np.ndarray, shape: float
) -> None:
    tails = fitted(values)

    found = tails[1] if values.min() < 0 else tails[3]
    assert found == pytest.approx(shape, abs=0.15)


def test_probabilities_beyond_the_training_rows_are_those_of_the_distribution() -> None:
    _, _, scale, shape = fitted(LOGNORMAL)
    edge = LOGNORMAL.max() + 1
    z = [(math.log(x / 100) - 4) for x in (edge, 3 * edge)]

    found = survival(2 * edge, scale, shape)

    expected = math.erfc(z[1] / 2**0.5) / math.erfc(z[0] / 2**0.5)
    assert abs(math.log(found / expected)) < 3


def test_limits_and_single_values_have_tails_too() -> None:
    capped = np.minimum(RNG.integers(0, 1200, ROWS), 1000)
    for values in (capped, np.full(ROWS, 7), np.array([1, 2])):
        tails = fitted(values)
        assert all(math.isfinite(number) and number > 0 for number in tails)
        assert tails[1] <= MAX_SHAPE and tails[3] <= MAX_SHAPE
