import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.columns import Column
from ar_models.tables.list_cells import lists
from ar_models.tables.list_column import ListColumn
from tasks.data.hashing import cell_hashes
from tests.support.lists import FIXED, N, pixels, words
from tests.support.sketching import fit

DEEP = pa.list_(pa.list_(pa.uint8(), 4), 3)


STEP = pa.struct([("note", pa.int8()), ("loud", pa.float64())])


def frames(rows: int = N) -> pa.Array:
    rng = np.random.default_rng(0)
    return pa.array(
        [
            [
                {"note": int(note), "loud": None if note == 1 else float(loud)}
                for note, loud in zip(
                    rng.integers(0, 5, length), rng.normal(size=length), strict=True
                )
            ]
            for length in rng.integers(0, 5, rows)
        ],
        pa.list_(STEP),
    )


ARRAYS = {
    "fixed": pa.array(pixels(2).tolist(), FIXED),
    "list": pa.array(pixels(200).tolist(), pa.list_(pa.uint8())),
    "large": pa.array(pixels(7).tolist(), pa.large_list(pa.int32())),
    "deep": pa.array(pixels(3).reshape(N, 3, 4).tolist(), DEEP),
    "reals": pa.array(np.random.default_rng(0).normal(size=(N, 3)).tolist()),
    "varying": pa.array(
        [row[: 1 + i % 12].tolist() for i, row in enumerate(pixels(9))]
    ),
    "nulls": pa.array(
        [None if i % 9 == 0 else r.tolist() for i, r in enumerate(pixels(9))]
    ),
    "fixed nulls": pa.array(
        [None if i % 9 == 0 else r.tolist() for i, r in enumerate(pixels(9))], FIXED
    ),
    "text": pa.array(words()),
    "frames": frames(),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_lists_come_back(name: str) -> None:
    array = ARRAYS[name]
    kinds = {"x": {"kind": "sequence"}} if name == "text" else {}
    encoder = fit(pa.table({"x": array}), columns=kinds)

    encoded = encoder.encode(pa.table({"x": array}))
    back = encoder.decode(encoded.x).column("x").combine_chunks()

    assert back.type == array.type
    assert not encoded.out_of_support.any()
    if name in ("reals", "frames"):
        one, other = reals(back.to_pylist()), reals(array.to_pylist())
        assert one == pytest.approx(other, abs=1e-4, nan_ok=True)
    else:
        assert back.equals(array)


def reals(values: list[object]) -> list[float]:
    """Return all numbers in nested lists and structs; nulls become NaN."""
    found: list[float] = []
    for value in values:
        if isinstance(value, dict):
            found += reals(list(value.values()))
        elif isinstance(value, list):
            found += [len(value), *reals(value)]
        else:
            found.append(float("nan") if value is None else float(str(value)))
    return found


def test_equal_lists_have_equal_hashes_and_others_do_not() -> None:
    rows = [[1, 2], [2, 1], [1, 2, 0], [1, 2], [], None]
    narrow = lists(pa.array(rows, pa.list_(pa.int8())))
    wide = lists(pa.array(rows, pa.large_list(pa.int64())))

    one, other = cell_hashes(narrow), cell_hashes(wide)

    assert one.tolist() == other.tolist()
    assert one[0] == one[3]
    assert len(set(one.tolist())) == 5


def test_one_list_column_is_all() -> None:
    column: Column = fit(pa.table({"x": ARRAYS["varying"]})).columns[0]
    assert isinstance(column, ListColumn)
    assert (column.shortest, column.places, column.varies) == (1, 12, True)
