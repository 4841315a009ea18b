import pyarrow as pa
import pytest

from tasks.data.text import decoded_text, find_invalid_text

BROKEN = pa.array([b"a", b"\xff", None], pa.binary()).view(pa.string())


@pytest.mark.parametrize("column", [BROKEN, BROKEN.dictionary_encode()])
def test_rows_with_invalid_utf_8_are_found(column: pa.Array) -> None:
    table = pa.table({"bad": column, "good": ["x", "ü", None], "number": [1, 2, 3]})
    found = find_invalid_text(table)
    assert {name: mask.tolist() for name, mask in found.items()} == {
        "bad": [False, True, False]
    }


def test_text_is_decoded_from_dictionaries() -> None:
    column = pa.chunked_array([pa.array(["x", "x", None]).dictionary_encode()])
    assert decoded_text(column).to_pylist() == ["x", "x", None]
