import pyarrow as pa
import pytest

from ar_models.tables.code_column import CodeColumn
from ar_models.tables.left_out import LeftOut
from tasks.config.data import DataConfig
from tasks.data.cells import to_cells
from tasks.data.columns.codes import word_column
from tasks.data.sketches import WordSketch, sketch_column


def sketched(words: list[str | None], max_distinct: int = 99) -> WordSketch:
    """Return the sketch of words."""
    cells = to_cells(pa.chunked_array([pa.array(words)]), pa.string(), "words")
    sketch = sketch_column(cells, pa.string(), max_distinct)
    assert isinstance(sketch, WordSketch)
    return sketch


def test_two_values_without_nulls_are_binary() -> None:
    data = DataConfig(path="")
    column = word_column("a", pa.string(), sketched(["x", "y"] * 9), data, None)
    assert isinstance(column, CodeColumn)
    assert column.kind == "binary"
    column = word_column("a", pa.string(), sketched(["x", "y", None] * 9), data, None)
    assert isinstance(column, CodeColumn)
    assert column.kind == "categorical"


def test_rare_values_share_a_code() -> None:
    words = ["x"] * 9 + ["y"] * 9 + ["z", "w"]
    column = word_column(
        "a",
        pa.string(),
        sketched(words),
        DataConfig(path="", min_category_count=3),
        None,
    )
    assert isinstance(column, CodeColumn)
    assert column.variables[0].size == 3


def test_too_many_values_are_left_out_or_refused() -> None:
    data = DataConfig(path="", max_categories=2)
    sketch = sketched(["x", "y", "z"] * 9)
    column = word_column("a", pa.string(), sketch, data, None)
    assert isinstance(column, LeftOut)
    assert column.reason == "3 distinct values exceed data.max_categories"
    with pytest.raises(ValueError, match=r"columns\.a: 3 distinct values.*raise it"):
        word_column("a", pa.string(), sketch, data, "categorical")
