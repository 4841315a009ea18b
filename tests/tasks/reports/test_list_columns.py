"""Columns of lists as plain columns."""

import pyarrow as pa
import pytest

from ar_models.tables.encoder import TableEncoder
from tasks.reports.list_columns import flatten_lists
from tests.support.sketching import fit

NOTE = pa.struct([("on", pa.bool_()), ("name", pa.string())])


def table() -> pa.Table:
    """Return text, lists of structs and numbers, images and a plain column."""
    notes = [[(True, "a"), (False, "b")], [], None, [(True, "a")]]
    rows = [
        None if row is None else [{"on": o, "name": n} for o, n in row] for row in notes
    ]
    return pa.table(
        {
            "text": ["abba", "", "cab", "a"],
            "notes": pa.array(rows, pa.list_(NOTE)),
            "sizes": pa.array([[1.5, None], [2.0], [], [4.0, 6.0]]),
            "image": pa.array([[0, 1], [1, 1], [0, 0], [1, 0]], pa.list_(pa.uint8())),
            "plain": [1, 2, 3, 4],
        }
    )


@pytest.fixture(scope="module")
def encoder() -> TableEncoder:
    """Return the encoder of many copies of the table."""
    return fit(
        pa.concat_tables([table()] * 20),
        columns={"text": {"kind": "sequence"}},
        images={"image": {"height": 1, "width": 2}},
    )


def test_lists_become_plain_columns(encoder: TableEncoder) -> None:
    (found,), names = flatten_lists([table()], encoder)

    assert set(names) == {"text", "notes", "sizes", "image"}
    assert found.column_names[0] == "plain"
    columns = found.to_pydict()
    assert columns["text.length"] == [4, 0, 3, 1]
    assert columns["share of 'a' in text"] == [0.5, None, pytest.approx(1 / 3), 1]
    assert columns["share of 'c' in text"] == [0, None, pytest.approx(1 / 3), 0]
    assert columns["notes.length"] == [2, 0, None, 1]
    assert columns["mean of notes.on"] == [0.5, None, None, 1]
    assert columns["share of 'b' in notes.name"] == [0.5, None, None, 0]
    assert columns["mean of sizes"] == [1.5, 2, None, 5]
    assert columns["image[0]"] == [0, 1, 0, 1]
    assert columns["image[1]"] == [1, 1, 0, 0]


def test_the_first_table_says_which_elements_are_told(encoder: TableEncoder) -> None:
    other = table().set_column(0, "text", pa.array(["zz", "za", "", "b"]))

    (first, second), names = flatten_lists([table(), other], encoder)

    assert first.column_names == second.column_names
    assert not any("z" in name for name in names["text"])
    assert second["share of 'a' in text"].to_pylist() == [0, 0.5, None, 0]
