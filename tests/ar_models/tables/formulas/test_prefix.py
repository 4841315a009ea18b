import pyarrow as pa

from ar_models.tables.formulas.prefix import PrefixFormula


def test_a_prefix_is_read_as_a_number_where_the_column_is_numeric() -> None:
    cells = {"code": pa.array(["1204", "x9", None])}
    found = PrefixFormula("code", 2).evaluate(cells, pa.int16())
    assert found.to_pylist() == [12, None, None]
