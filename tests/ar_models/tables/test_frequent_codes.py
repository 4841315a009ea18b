import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.frequent_codes import (
    count_few,
    value_counts,
    without_rare_values,
)
from tests.support.columns import fit_columns

TOWNS = ["A"] * 60 + ["B"] * 30 + ["C"] * 4 + ["D", "D", "E"]


def every_code(size: int) -> np.ndarray:
    """Return each of the codes of a column a thousand times."""
    return np.repeat(np.arange(size, dtype=np.float32), 1000)[:, None]


def test_frequent_categories_take_the_place_of_rare_ones_by_their_shares() -> None:
    encoder = fit_columns(pa.table({"town": TOWNS}))
    guarded = without_rare_values(encoder, 5)
    x = every_code(encoder.variables[0].size)  # A, B, C, D, rare

    drawn = guarded.decode(x, seed=3)["town"].to_pylist()

    assert set(drawn[:1000]) == {"A"} and set(drawn[1000:2000]) == {"B"}
    assert set(drawn) == {"A", "B"}
    # Of 3000 draws 2000 are A; 150 more or less with odds below 1e-8.
    assert abs(drawn[2000:].count("A") - 2000) < 150
    assert guarded.encode(pa.table({"town": TOWNS})).x.tolist() == (
        encoder.encode(pa.table({"town": TOWNS})).x.tolist()
    )


def test_categories_of_enough_rows_are_drawn() -> None:
    encoder = fit_columns(pa.table({"town": TOWNS}))
    x = every_code(encoder.variables[0].size)
    assert set(without_rare_values(encoder, 4).decode(x)["town"].to_pylist()) == {
        "A",
        "B",
        "C",
    }
    assert without_rare_values(encoder, 1) is encoder


@pytest.mark.parametrize("type", [pa.string(), pa.binary()])
def test_free_text_becomes_null_except_for_frequent_phrases(type: pa.DataType) -> None:
    notes = [f"call {i // 2} back" for i in range(160)] + ["none"] * 40
    encoder = fit_columns(pa.table({"note": pa.array(notes).cast(type)}))
    x = every_code(encoder.variables[0].size)
    drawn = without_rare_values(encoder, 5).decode(x)["note"]
    assert drawn.drop_null().cast(pa.string()).unique().to_pylist() == ["none"]
    assert drawn.null_count == len(x) - 1000


def test_tags_in_lists_are_guarded_and_letters_are_not() -> None:
    tags = pa.array([["red", "blue"]] * 50 + [["odd", "red"]])
    words = ["abab"] * 50 + ["abxa"]
    table = pa.table({"tags": tags, "word": words})
    columns = {"word": {"kind": "sequence"}}
    encoder = fit_columns(table, columns=columns, min_category_count=1)
    rows = without_rare_values(encoder, 5).decode(encoder.encode(table).x)
    assert {tag for cell in rows["tags"].to_pylist() for tag in cell} == {"red", "blue"}
    assert rows["word"].to_pylist() == words


def test_cells_that_few_training_rows_share_are_counted() -> None:
    encoder = fit_columns(pa.table({"town": TOWNS}))
    table = pa.table({"town": ["A", "C", "C", "D", "E", None, "unknown"]})
    assert value_counts(encoder.columns[0]).tolist() == [60, 30, 4, 2]  # type: ignore[arg-type]
    assert count_few(encoder, table, 5) == ({"town": 5}, 1)
    assert count_few(encoder, table.slice(0, 1), 5) == ({}, 60)
