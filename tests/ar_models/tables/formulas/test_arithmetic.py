import pyarrow as pa

from ar_models.tables.formulas.arithmetic import Factor, LinearFormula, ProductFormula


def test_a_ratio_is_undefined_where_its_divisor_is_zero() -> None:
    ratio = ProductFormula((Factor((("a", 1.0),)), Factor((("b", 1.0),), -1.0)))
    cells = {"a": pa.array([1, 1]), "b": pa.array([0, 4])}
    assert ratio.evaluate(cells, pa.float64()).to_pylist() == [None, 0.25]
    assert ratio.describe() == "a / b"


def test_only_terms_that_divide_nothing_are_solved_for() -> None:
    formula = LinearFormula((("a", -1.0), ("b", 2.0)))
    assert formula.invertible_columns == ("a",)
    cells = {"b": pa.array([1, 2])}
    found = formula.solve("a", pa.int64(), cells, pa.array([-3, 4]))
    assert found.to_pylist() == [5, 0]
