import pyarrow as pa
import pytest

from ar_models.tables.derivations import derivation_order, solve_parents
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.formulas.arithmetic import LinearFormula
from ar_models.tables.formulas.equality import Equality
from ar_models.tables.formulas.formula import Formula
from tests.support.constraints import constrained_encoder, fares, fares_encoder


def test_columns_are_decoded_after_those_they_are_derived_from() -> None:
    encoder = fares_encoder(fares())
    names = [encoder.names[j] for j in encoder.order]
    assert names.index("fare") < names.index("total") < names.index("paid")
    assert sorted(encoder.order) == list(range(len(names)))


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ({"a": [Equality("b")], "b": [Equality("a")]}, "a, b are computed from each"),
        ({"a": [Equality("a")]}, "a are computed from each other"),
    ],
)
def test_columns_cannot_determine_each_other(
    constraints: dict[str, list[Formula]], message: str
) -> None:
    table = pa.table({"a": [1, 2, 3], "b": [1, 2, 3], "c": [4, 5, 6]})
    with pytest.raises(ValueError, match=message):
        constrained_encoder(table, constraints)


def test_a_parent_must_be_modelled() -> None:
    table = pa.table({"a": [1, 2, 3], "b": [1, 2, 3]})
    encoder = constrained_encoder(table, {"a": [Equality("b")]})
    with pytest.raises(ValueError, match="from 'b', which is not modelled"):
        TableEncoder(encoder.columns[:1], (), encoder.schema)
    assert derivation_order(encoder.columns) == (1, 0)


def test_one_unknown_cell_follows_from_the_derived_one() -> None:
    table = pa.table(
        {"s": [5, 6, 9, 8], "a": [2, 3, 4, 1], "b": [3, 3, 5, 7], "copy": [2, 3, 4, 1]}
    )
    formula = LinearFormula((("a", 1.0), ("b", 1.0)), decimals=0)
    encoder = constrained_encoder(table, {"s": [formula], "copy": [Equality("a")]})
    columns = [encoder.columns[j] for j in encoder.order]
    # In the third row a follows from its copy, then b from the sum.
    given = pa.table(
        {
            "s": [7, None, 8, 9],
            "a": [2, 3, None, None],
            "copy": pa.array([None, None, 1, None], pa.int64()),
        }
    )
    found = solve_parents(columns, given, encoder.schema)
    assert found["a"].to_pylist() == [2, 3, 1, None]
    assert found["b"].to_pylist() == [5, None, 7, None]
