import pyarrow as pa
import pytest

from ar_models.tables.left_out import LeftOut
from ar_models.tables.list_column import ListColumn
from tasks.config.data import DataConfig
from tasks.data.columns import lists
from tasks.data.columns.infer import infer_column
from tests.support.sketching import sketched


def inferred(array: pa.Array, **settings: object) -> ListColumn | LeftOut:
    """Return the column `a` that fits some lists."""
    data = DataConfig.model_validate({"path": "", **settings})
    column = infer_column("a", array.type, sketched(array), data)
    assert isinstance(column, ListColumn | LeftOut)
    return column


LISTS = pa.array([[1, 2], [3], [], [4, 5, 6]] * 9)


def test_lists_of_different_length_have_a_length() -> None:
    column = inferred(LISTS)
    assert isinstance(column, ListColumn)
    assert (column.shortest, column.places, column.kind) == (0, 3, "sequence")
    assert "a.length" in {v.name for v in column.variables}


def test_empty_lists_are_left_out() -> None:
    column = inferred(pa.array([[], []], pa.list_(pa.int8())))
    assert isinstance(column, LeftOut)
    assert column.reason == "all lists are empty"


def test_images_have_a_fixed_shape() -> None:
    pixels = pa.array([[0, 1, 1, 0]] * 9 + [[1, 1, 0, 0]] * 9)
    column = inferred(pixels, images={"a": {"height": 2, "width": 2}})
    assert isinstance(column, ListColumn)
    assert (column.kind, column.shape) == ("image", (2, 2, 1))
    with pytest.raises(ValueError, match="lists of 0 to 3 values are no images of 2 x"):
        inferred(LISTS, images={"a": {"height": 2, "width": 2}})


def test_lists_of_too_many_places_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_VARIABLES", 2)
    with pytest.raises(ValueError, match="3 places, .* at most 2 are possible"):
        inferred(LISTS)


def test_bytes_with_many_values_are_numbers() -> None:
    rows = pa.array([[i % 200, i % 7] for i in range(400)], pa.list_(pa.uint8()))
    column = inferred(rows, max_categories=100)
    assert isinstance(column, ListColumn)
    assert column.elements[0].kind == "integer"
