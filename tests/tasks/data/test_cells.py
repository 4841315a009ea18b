import numpy as np
import pyarrow as pa
import pytest

from tasks.data.cells import representation_of, select_cells
from tests.support.sketching import cells_of


@pytest.mark.parametrize(
    ("type", "kind", "expected"),
    [
        (pa.string(), None, "words"),
        (pa.string(), "sequence", "lists"),
        (pa.dictionary(pa.int8(), pa.string()), None, "words"),
        (pa.float32(), None, "reals"),
        (pa.int8(), None, "integers"),
        (pa.int8(), "real", "reals"),
        (pa.decimal128(5, 2), None, "integers"),
        (pa.timestamp("us"), "real", "integers"),
        (pa.list_(pa.int8()), None, "lists"),
    ],
)
def test_a_type_and_a_kind_have_a_representation(
    type: pa.DataType, kind: str | None, expected: str
) -> None:
    assert representation_of(type, kind) == expected


@pytest.mark.parametrize(
    "array",
    [pa.array(["a", None, "b"]), pa.array([1, None, 3]), pa.array([[1], None, [2, 3]])],
)
def test_selected_cells_are_those_of_the_selected_rows(array: pa.Array) -> None:
    chosen = np.array([False, True, True])
    selected = cells_of(array.filter(pa.array(chosen)))
    both = [select_cells(cells_of(array), chosen), selected]
    missing = [cells.missing.tolist() for cells in both if cells.missing is not None]
    assert missing == [[True, False]] * 2
