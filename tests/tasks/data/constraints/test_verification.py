import pyarrow as pa

from ar_models.tables.formulas.arithmetic import LinearFormula
from ar_models.tables.formulas.equality import Equality
from tasks.data.constraints.verification import Tally, count_matches

TABLE = pa.table(
    {
        "a": pa.array([1, 2, 3, None, 5]),
        "b": pa.array([1, 1, 1, 1, 1]),
        "c": pa.array([2, 3, 3, None, None]),
    }
)
FORMULAS = {
    "c": (LinearFormula((("a", 1.0), ("b", 1.0)), decimals=0), Equality("a")),
}


def test_rows_are_counted_for_each_formula_and_for_the_first_that_holds() -> None:
    tally = count_matches(TABLE, TABLE.schema, FORMULAS)["c"]
    # The copy holds in row 2, and in row 3 where both are null.
    assert tally == Tally(5, (2, 2), (2, 2), (1, 0))


def test_counts_of_parts_add_up() -> None:
    parts = [TABLE.slice(0, 2), TABLE.slice(2)]
    one, two = (count_matches(part, part.schema, FORMULAS)["c"] for part in parts)
    whole = count_matches(TABLE, TABLE.schema, FORMULAS)["c"]
    assert one.merge(two) == whole
