import pyarrow as pa

from ar_models.tables.formulas.lookup_formula import LookupFormula


def test_unknown_keys_and_null_values_are_null() -> None:
    table = LookupFormula(("a", "b"), ((1, "x"), (1, "y")), ("u", None))
    cells = {"a": pa.array([1, 1, 2, None]), "b": pa.array(["x", "y", "x", "x"])}
    found = table.evaluate(cells, pa.string())
    assert found.to_pylist() == ["u", None, None, None]
