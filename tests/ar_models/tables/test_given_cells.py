import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.given_cells import check_determined, encode_given, solve_given
from tests.support.constraints import fares, fares_encoder


def test_derived_cells_are_encoded_with_the_cells_that_determine_them() -> None:
    table = fares()
    encoder = fares_encoder(table)
    names = ["total", "fare", "tip", "paid"]
    x, late = encode_given(encoder, table.select(names))
    assert not late.any()
    whole = encoder.encode(table).x
    null = np.asarray(table["paid"].is_null())
    for name in names:
        span = encoder.span(encoder.names.index(name))
        rows = ~null if name == "paid" else np.ones(len(x), bool)
        np.testing.assert_array_equal(x[rows, span], whole[rows, span])
        assert np.isnan(x[~rows, span]).all()
    other = encoder.span(encoder.names.index("distance"))
    assert np.isnan(x[:, other]).all()


def test_a_derived_cell_needs_cells_that_determine_it() -> None:
    encoder = fares_encoder(fares())
    message = (
        r"column 'total' is given and computed from fare, tip \(fare \+ tip\); give "
        "fare, tip too, or strike the constraint under data.constraints"
    )
    other = "'paid' is given and .*; give total, fare too"
    for name, text in (("total", message), ("paid", other)):
        given = pa.table({name: [9]})
        x, late = encode_given(encoder, given)
        assert np.isnan(x).all()
        assert late.tolist() == [[column == name for column in encoder.names]]
        with pytest.raises(ValueError, match=text):
            check_determined(encoder, given, late)


def test_a_violation_of_what_always_held_cannot_be_given() -> None:
    encoder = fares_encoder(fares())
    given = pa.table({"total": [9], "fare": [5], "tip": [5]})
    with pytest.raises(ValueError, match=r"'total', row 7: 9 .* give fare \+ tip"):
        encode_given(encoder, given, first=7)


def test_a_parent_follows_from_a_given_sum() -> None:
    encoder = fares_encoder(fares())
    given = pa.table({"total": [20, 30], "fare": [15, 25]})
    solved = solve_given(encoder, given)
    assert solved["tip"].to_pylist() == [5, 5]
    assert not np.isnan(encode_given(encoder, solved)[0]).all()
    # The cell `paid` equals the total in fewer rows than are needed.
    rough = solve_given(encoder, pa.table({"paid": [20]}))
    assert rough.column_names == ["paid"]
