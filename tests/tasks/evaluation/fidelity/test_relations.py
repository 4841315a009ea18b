"""Tests of the rules of pairs of columns."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.fidelity.findings import Finding, StackedRows
from tasks.evaluation.fidelity.relations import check_relations
from tasks.evaluation.fidelity.tables import Tables

SIZE = 3000


def related(seed: int) -> pa.Table:
    """Return columns that are equal, ordered, dependent and null together."""
    rng = np.random.default_rng(seed)
    price = rng.integers(1, 1000, SIZE)
    city = rng.integers(0, 300, SIZE)
    missing = rng.random(SIZE) < 0.3
    return pa.table(
        {
            "price": price,
            "paid": price,
            "limit": price + rng.integers(0, 500, SIZE),
            "city": [f"city {k}" for k in city],
            "state": [f"state {k % 7}" for k in city],
            "start": pa.array(rng.random(SIZE), mask=missing),
            "end": pa.array(rng.random(SIZE), mask=missing),
        }
    )


def findings(synthetic: pa.Table) -> list[Finding]:
    """Return the findings of synthetic rows."""
    rows = StackedRows.stack(Tables(related(0), related(1), synthetic))
    return [finding for finding, _ in check_relations(rows)]


def test_real_rows_keep_all_rules() -> None:
    assert findings(related(2)) == []


@pytest.mark.parametrize(
    ("column", "check", "rule"),
    [
        ("paid", "dependence", "price determines paid"),
        ("paid", "order", "paid <= limit"),
        ("limit", "order", "price <= limit"),
        ("state", "dependence", "city determines state"),
        (
            "end",
            "combination",
            "combinations of the sign of start and the sign of end that occur",
        ),
    ],
)
def test_a_shuffled_column_violates_its_rules(
    column: str, check: str, rule: str
) -> None:
    rows = related(2)
    order = pa.array(np.random.default_rng(3).permutation(SIZE))
    place = rows.column_names.index(column)
    shuffled = rows.set_column(place, column, rows[column].take(order))

    found = {(each.check, each.rule): each for each in findings(shuffled)}

    assert all(column in each.columns for each in found.values())
    assert found[check, rule].synthetic > 0.1
    assert found[check, rule].held_out == 0
    assert f"{column} = " in found[check, rule].examples[0]


def test_equality_is_told_from_order() -> None:
    rows = related(2)
    wrong = pa.array(np.where(np.arange(SIZE) % 20, rows["price"], 0))
    found = findings(rows.set_column(1, "paid", wrong))
    assert ("equality", "price = paid") in {(each.check, each.rule) for each in found}
