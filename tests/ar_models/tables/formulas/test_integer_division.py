import pyarrow as pa

from ar_models.tables.formulas.integer_division import (
    QuotientFormula,
    RemainderFormula,
)


def test_quotient_and_remainder_restore_negative_numbers_too() -> None:
    cells = {"a": pa.array([-150, 150])}
    quotient = QuotientFormula("a", 100.0).evaluate(cells, pa.int64()).to_pylist()
    remainder = RemainderFormula("a", 100.0).evaluate(cells, pa.int64()).to_pylist()
    assert [100 * q + r for q, r in zip(quotient, remainder, strict=True)] == [
        -150,
        150,
    ]
