import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.arithmetic import LinearFormula
from ar_models.tables.formulas.equality import Equality
from tasks.data.constraints.candidate import evaluate
from tasks.data.constraints.nulls import with_nulls
from tests.support.planted import sample

FORMULA = LinearFormula((("a", 1.0), ("b", 1.0)), decimals=0)
A, B = np.arange(200), np.arange(200)[::-1]
GAPS = A % 4 == 0


def test_a_column_that_is_null_with_its_formula_matches_there() -> None:
    given = sample(a=pa.array(A, mask=GAPS), b=B, c=pa.array(A + B, mask=GAPS))
    assert evaluate(given, "c", FORMULA).matched.sum() == 150
    found = with_nulls(FORMULA, "c", given)
    assert found.null_is_value
    assert evaluate(given, "c", found).matched.all()


def test_a_column_with_values_there_leaves_the_formula_undefined() -> None:
    given = sample(a=pa.array(A, mask=GAPS), b=B, c=A + B)
    assert with_nulls(FORMULA, "c", given) == FORMULA
    whole = sample(a=A, b=B, c=A + B)
    assert with_nulls(FORMULA, "c", whole) == FORMULA
    assert with_nulls(Equality("a"), "c", whole) == Equality("a")
