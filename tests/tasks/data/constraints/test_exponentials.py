import numpy as np

from tasks.data.constraints.exponentials import exponentials
from tests.support.planted import ROWS, discovered, planted, sample, texts


def test_growth_at_a_constant_rate_is_found_with_its_constants() -> None:
    rng = np.random.default_rng(0)
    years, level = rng.uniform(0, 20, ROWS).round(2), rng.integers(0, 6, ROWS)
    value = np.round(1.5 * np.exp(0.25 * years + 0.5 * level), 2)
    given = sample(years=years, level=level, value=planted(value, 4))
    (found,) = exponentials(given)
    assert found.column == "value"
    assert found.formula.describe() == "1.5 * exp(0.5 * level + 0.25 * years)"
    assert int((~found.matched).sum()) == 4
    assert discovered(given)["value"] == [found.formula.describe()]


def test_numbers_of_a_long_tail_are_no_exponentials() -> None:
    rng = np.random.default_rng(1)
    years = rng.uniform(0, 20, ROWS).round(2)
    noisy = np.round(np.exp(0.3 * years + rng.normal(0, 0.05, ROWS)), 2)
    given = sample(years=years, noisy=noisy, free=rng.lognormal(3, 2, ROWS).round(2))
    assert texts(exponentials(given)) == set()
