from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tasks.config.data import DataConfig
from tasks.data.fragments import read_fragment
from tasks.data.training_data import open_training_data
from tasks.runtime import manifest
from tests.support.preparing import example_table, run_prepare, write_files

NAMES = example_table(1).column_names


def kind(column: str, name: str) -> dict[str, Any]:
    """Return settings that configure the kind of a column."""
    return {"columns": {column: {"kind": name}}}


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"id": ["kee"]}, "data.id: the dataset has no column 'kee'; did you mean 'k"),
        (kind("town", "real"), "data.columns: .* 'town'"),
        ({"split": {"by": "time", "column": "when"}}, "data.split.column: .* 'when'"),
        (kind("city", "real"), "data.columns.city: kind real .*string"),
        (kind("age", "timestamp"), "data.columns.age: kind timestamp"),
        (kind("age", "binary"), "data.columns.age: kind binary"),
        (kind("amount", "integer"), "amount: kind integer .*fractions"),
        ({"exclude": NAMES}, "all columns are excluded or ids"),
        ({"exclude": NAMES[1:-1]}, "no column is left to"),
        ({"max_categories": 2, **kind("city", "categorical")}, "city: 3"),
    ],
)
def test_a_configuration_that_does_not_fit_says_why(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    source = write_files(tmp_path / "raw", example_table(300), 1)
    with pytest.raises(ValueError, match=message):
        run_prepare(source, tmp_path / "out", **settings)
    assert not (tmp_path / "out" / manifest.MANIFEST).exists()


def test_columns_that_cannot_be_modelled_are_left_out(tmp_path: Path) -> None:
    deep = example_table(300).append_column("deep", pa.array([[[1, 2], [1]]] * 300))
    source = write_files(tmp_path / "raw", deep, 1)
    assert run_prepare(source, tmp_path / "out").columns["deep"] == "left out"
    with pytest.raises(ValueError, match=r"split.column: column 'deep' is list<.*time"):
        split = {"by": "time", "column": "deep"}
        run_prepare(source, tmp_path / "timed", split=split)


def test_the_raw_columns_of_a_split_can_be_read_as_the_dataset(tmp_path: Path) -> None:
    source = write_files(tmp_path / "raw", example_table(300), 2)
    run_prepare(source, tmp_path / "out")
    again = open_training_data(DataConfig(path=str(tmp_path / "out" / "train")))
    raw = open_training_data(DataConfig(path=str(source)))
    assert again.schema.equals(raw.schema)
    assert read_fragment(again.fragments[0]).schema.equals(raw.schema)
