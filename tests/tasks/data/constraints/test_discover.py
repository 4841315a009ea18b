import numpy as np

from ar_models.tables.formulas.equality import Equality
from tasks.data.constraints.discover import discover
from tests.support.planted import (
    ROWS,
    discovered,
    fare_columns,
    noise_columns,
    sample,
)

RNG = np.random.default_rng(0)


def test_independent_columns_have_no_constraints() -> None:
    assert discovered(sample(**noise_columns())) == {}


def test_tables_of_flags_have_none() -> None:
    hidden = RNG.random((ROWS, 4)) < 0.5
    flags = {f"f{k}": hidden[:, k % 4] & hidden[:, k // 4] for k in range(16)}
    assert discovered(sample(**flags)) == {}


def test_dependent_categories_that_break_rules_now_and_then_have_none() -> None:
    kind = RNG.integers(0, 4, ROWS)
    noisy = {
        f"c{k}": np.where(RNG.random(ROWS) < 0.95, kind, RNG.integers(0, 4, ROWS))
        for k in range(6)
    }
    assert discovered(sample(**noisy)) == {}


def test_few_rows_have_none() -> None:
    assert discovered(sample(**fare_columns(rows=100, wrong=1))) == {}


def test_columns_are_ignored_and_given_formulas_stay() -> None:
    given = sample(**fare_columns())
    assert set(discovered(given)) == {"total"}
    assert "total" not in discovered(given, ignored=["total"])
    fixed = {"fare": (Equality("total"),)}
    found = discover(given, fixed)
    assert found["fare"] == fixed["fare"]
    assert "total" not in found


def test_the_result_is_the_same_every_time() -> None:
    given = fare_columns()
    assert discovered(sample(**given)) == discovered(sample(**given))
