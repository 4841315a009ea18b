"""Laws of all formulas."""

import json
from datetime import datetime

import pyarrow as pa
import pytest

from ar_models.tables.formulas.annuity import AnnuityFormula
from ar_models.tables.formulas.arithmetic import (
    ExponentialFormula,
    Factor,
    LinearFormula,
    ProductFormula,
)
from ar_models.tables.formulas.clock import ClockFormula
from ar_models.tables.formulas.date_part import DatePart
from ar_models.tables.formulas.equality import Equality
from ar_models.tables.formulas.formula import Formula
from ar_models.tables.formulas.integer_division import (
    QuotientFormula,
    RemainderFormula,
)
from ar_models.tables.formulas.lookup_formula import LookupFormula, lookup_formula
from ar_models.tables.formulas.prefix import PrefixFormula
from ar_models.tables.formulas.registry import FORMULAS, formula_from_dict

CELLS = {
    "a": pa.array([1.5, 2.25, None, 4.0]),
    "b": pa.array([2, 0, 5, -3], pa.int16()),
    "t": pa.array([2359, 1, 1260, None]),
    "w": pa.array(["A1", "B22", None, ""]).dictionary_encode(),
    "when": pa.array([datetime(2020, 1, d, 5 * d, 3) for d in range(1, 5)]),
}
CASES: list[tuple[Formula, pa.DataType, list[object], str]] = [
    (Equality("a"), pa.float32(), [1.5, 2.25, None, 4.0], "a"),
    (
        LinearFormula((("a", 1.0), ("b", -2.0)), 0.25, decimals=1),
        pa.float64(),
        [-2.3, 2.5, None, 10.3],
        "a - 2 * b + 0.25",
    ),
    (
        LinearFormula((("b", 1.0),), 0.0, "w", (("A1", 5.0), (None, 1.0))),
        pa.int64(),
        [7, None, 6, None],
        "b + constant of w",
    ),
    (
        ProductFormula(
            (Factor((("a", 1.0),)), Factor((("a", 1.0), ("b", 1.0)), -1.0)), 200.0, 1
        ),
        pa.float64(),
        [85.7, 200.0, None, 800.0],
        "200 * a / (a + b)",
    ),
    (
        ExponentialFormula((("b", 1.0),), 2.0, 2),
        pa.float64(),
        [14.78, 2.0, 296.83, 0.1],
        "2 * exp(b)",
    ),
    (
        AnnuityFormula("a", "b", 12.0, "w", 12.0, 3),
        pa.float64(),
        [0.297, 0.009, None, None],
        "annuity of a at b / 12 over 12 * w payments",
    ),
    (QuotientFormula("t", 100.0), pa.int8(), [23, 0, 12, None], "t // 100"),
    (RemainderFormula("t", 100.0), pa.int8(), [59, 1, 60, None], "t % 100"),
    (
        ClockFormula((("t", 1.0),), (("b", 1.0),), midnight=2400),
        pa.int64(),
        [1, 1, None, None],
        "t + b (clock time, modulo 24 hours)",
    ),
    (
        DatePart("when", "hour", "Asia/Tokyo"),
        pa.int64(),
        [14, 19, 0, 5],
        "hour of when in Asia/Tokyo",
    ),
    (
        PrefixFormula("w", 1),
        pa.string(),
        ["A", "B", None, ""],
        "first 1 character of w",
    ),
    (
        LookupFormula(("w", "b"), (("A1", 2), (None, 5)), ("x", "y")),
        pa.string(),
        ["x", None, "y", None],
        "function of w and b",
    ),
]


@pytest.mark.parametrize(("formula", "type", "values", "text"), CASES)
def test_a_formula_computes_describes_and_restores_itself(
    formula: Formula, type: pa.DataType, values: list[object], text: str
) -> None:
    found = formula.evaluate(CELLS, type)
    assert found.type == type
    assert found.to_pylist() == pytest.approx(values)
    assert formula.describe() == text
    assert set(formula.columns) <= set(CELLS)
    stored = json.loads(json.dumps(formula.to_dict()))
    assert formula_from_dict(stored) == formula


def test_every_kind_of_formula_is_tested() -> None:
    assert {formula.kind for formula, *_ in CASES} == set(FORMULAS)


def test_formulas_compute_nothing_of_no_rows() -> None:
    nothing = {name: array.slice(0, 0) for name, array in CELLS.items()}
    for formula, type, *_ in CASES:
        assert len(formula.evaluate(nothing, type)) == 0


def test_a_table_has_as_many_keys_as_values() -> None:
    assert lookup_formula(["a"], [[1, 2]], ["x", "y"]).keys == ((1,), (2,))
    with pytest.raises(ValueError, match="as many values, got 1 and 2"):
        LookupFormula(("a",), ((1,),), ("x", "y"))
