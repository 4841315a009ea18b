import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.trained_cells import as_trained


@pytest.mark.parametrize(
    ("given", "type"),
    [
        (pa.array([1.0, None, 3.0]), pa.int32()),
        (pa.array([1, None, 3], pa.int8()), pa.float64()),
        (pa.array(["a", None, "b"]).dictionary_encode(), pa.large_string()),
        (pa.chunked_array([[1, None], [3]]), pa.dictionary(pa.int8(), pa.int64())),
        (pa.array([0, None, 5], pa.date32()), pa.timestamp("us")),
    ],
)
def test_cells_keep_their_values_in_the_type_of_training(
    given: pa.Array, type: pa.DataType
) -> None:
    cells, off = as_trained(given, type)
    assert off is None
    again, _ = as_trained(cells, given.type)
    assert again.to_pylist() == given.to_pylist()


def test_values_that_the_type_cannot_hold_are_named() -> None:
    cells, off = as_trained(pa.array([1.5, 2.0, None]), pa.int64())
    assert cells.to_pylist() == [None, 2, None]
    assert off is not None
    assert np.array_equal(off, [True, False, False])
