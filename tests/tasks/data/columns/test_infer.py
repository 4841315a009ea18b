from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ar_models.tables.columns import Column
from ar_models.tables.left_out import LeftOut
from tasks.config.data import DataConfig
from tasks.data.columns.infer import infer_column
from tasks.data.prepared import read_encoder
from tests.support.preparing import example_table, read_split, run_prepare, write_files
from tests.support.sketching import sketched


def kind_of(values: pa.Array, name: str = "a", **settings: Any) -> str:
    """Return the kind inferred from values, or why they are left out."""
    data = DataConfig.model_validate({"path": "", **settings})
    found = infer_column(name, values.type, sketched(values), data)
    return found.kind if isinstance(found, Column) else found.reason


NOISE = np.random.default_rng(0).normal(size=300)
UNIQUE = "a unique id: all values differ"
RARE = "no value occurs 2 times (data.min_category_count)"
WIDE = np.random.default_rng(0).permutation(10**6)[:300]


@pytest.mark.parametrize(
    "values, name, expected",
    [
        (pa.array(NOISE), "a", "real"),
        (pa.array(np.rint(NOISE * 9)), "a", "integer"),
        (pa.array(np.rint(NOISE * 9).astype(np.int16)), "a", "integer"),
        (pa.array(np.rint(NOISE * 9) / 10), "a", "decimal"),
        (pa.array(NOISE.round(3)), "a", "real"),
        (pa.array(NOISE > 0), "a", "binary"),
        (pa.array([True, False, None] * 9), "a", "categorical"),
        (pa.array([0, 1] * 9), "a", "binary"),
        (pa.array([0.5, 1.5] * 9), "a", "binary"),
        (pa.array([0.25, 0.5, 0.75] * 40), "a", "categorical"),
        (pa.array(["x", "y"] * 9), "a", "binary"),
        (pa.array(["x", "y", "z"] * 9), "a", "categorical"),
        (pa.array([f"n{i}" for i in range(300)]), "a", UNIQUE),
        (pa.array(range(300)), "a", UNIQUE),
        (pa.array(WIDE), "amount", "integer"),
        (pa.array(WIDE), "order_id", UNIQUE),
        (pa.array(WIDE), "customerID", UNIQUE),
        (pa.array(WIDE), "humid", "integer"),
        (pa.array([1, 2, 3], pa.timestamp("s")), "a", "timestamp"),
        (pa.array([1, 2, 3], pa.date32()), "a", "timestamp"),
        (pa.array([1, 2, 3] * 10, pa.date32()), "a", "categorical"),
        (pa.array([1, 2, 3], pa.duration("s")), "a", "integer"),
        (pa.array([f"n{i}" for i in range(30)] * 2), "a", "categorical"),
        (pa.array(list("abcdefghij")), "a", RARE),
    ],
)
def test_kinds_are_inferred_from_the_values(
    values: pa.Array, name: str, expected: str
) -> None:
    assert kind_of(values, name) == expected


def test_a_kind_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example_table(400), 1)
    columns = {
        "age": {"kind": "categorical"},
        "unit": {"kind": "categorical"},
        "amount": {"kind": "leave_out"},
        "day": {"kind": "categorical"},
    }
    result = run_prepare(source, tmp_path / "out", columns=columns)
    assert result.columns["age"] == "categorical"
    assert result.columns["unit"] == "categorical"
    assert result.columns["amount"] == "left out"
    train = read_split(tmp_path / "out", "train")
    encoder = read_encoder(str(tmp_path / "out"))
    decoded = encoder.decode(encoder.encode(train).x)
    assert decoded.column("unit").equals(train.column("unit"))


def test_the_unnamed_index_of_a_frame_is_left_out_unless_a_kind_is_given() -> None:
    sketch = sketched(pa.chunked_array([list(range(7)) * 9]))
    name, kinds = "__index_level_0__", {"__index_level_0__": {"kind": "integer"}}
    found = infer_column(name, pa.int64(), sketch, DataConfig(path=""))
    assert isinstance(found, LeftOut)
    data = DataConfig.model_validate({"path": "", "columns": kinds})
    assert infer_column(name, pa.int64(), sketch, data).kind == "integer"
