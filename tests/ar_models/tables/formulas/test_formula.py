import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.formulas.arithmetic import LinearFormula
from ar_models.tables.formulas.equality import Equality
from ar_models.tables.formulas.formula import Formula, first_match, matches

SUM = LinearFormula((("a", 1.0), ("b", 1.0)), decimals=1)


def test_reals_match_up_to_rounding_errors_only() -> None:
    values = pa.array([0.3, 0.0, 1e9, np.nan, np.inf, None])
    cells = pa.array([0.1 + 0.2, 1e-17, 1e9 + 0.1, np.nan, np.inf, None])
    found = matches(SUM, values, cells)
    assert found.tolist() == [True, True, False, True, True, False]


@pytest.mark.parametrize("type", [pa.int64(), pa.string(), pa.bool_(), pa.date32()])
def test_others_match_exactly_and_a_copy_is_null_where_its_source_is(
    type: pa.DataType,
) -> None:
    values = pa.array([0, 1, 1, None, None]).cast(pa.int32()).cast(type)
    cells = pa.array([0, 1, 0, None, 1]).cast(pa.int32()).cast(type)
    given = Equality("v").evaluate({"v": values}, type)
    found = matches(Equality("v"), given, cells)
    assert found.tolist() == [True, True, False, True, False]
    assert not matches(SUM, values, cells)[3]


def test_the_first_formula_that_holds_counts() -> None:
    cells = {"a": pa.array([1, 1, 1]), "b": pa.array([0, 1, 5])}
    formulas: list[Formula] = [Equality("a"), Equality("b"), SUM]
    derived = pa.array([1, 2, 5])
    assert first_match(formulas, cells, derived, pa.int64()).tolist() == [1, 3, 2]


def test_a_sum_is_solved_for_its_terms_where_it_holds() -> None:
    cells = {"b": pa.array([0.2, 2.0, None])}
    derived = pa.array([1.5, 1.55, 3.0])
    found = SUM.solve("a", pa.float64(), cells, derived)
    # The second has no solution: sums have one decimal place.
    assert found.to_pylist() == [1.3, None, None]
