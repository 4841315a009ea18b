from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest

from ar_models.tables.formulas.keys import from_keys, keys_of, places

ARRAYS = [
    pa.array(["a", "b", None]),
    pa.array(["a", "b", None]).dictionary_encode(),
    pa.array([b"a", b"\xff", None]),
    pa.array([1, -2, None], pa.int16()),
    pa.array([0.5, -2.0, None]),
    pa.array([True, False, None]),
    pa.array([date(2020, 1, 1), date(1960, 1, 1), None]),
    pa.array([Decimal("1.50"), Decimal("-2.25"), None]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: str(a.type))
def test_keys_restore_cells_and_find_them(array: pa.Array) -> None:
    keys = keys_of(array)
    assert from_keys(keys, array.type).to_pylist() == array.to_pylist()
    assert places(array, keys).tolist() == [0, 1, 2]
    assert places(array, keys[1:2]).tolist() == [-1, 0, -1]
