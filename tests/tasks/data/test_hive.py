from pathlib import Path

import pyarrow as pa
import pytest

from tasks.data.datasets import open_dataset
from tasks.data.fragments import read_fragment
from tests.support.parquet import write_months, write_parquet


def test_hive_values_are_decoded(tmp_path: Path) -> None:
    one = pa.table({"a": [1]})
    write_parquet(tmp_path / "place=S%C3%A3o%20Paulo" / "x.parquet", one)
    write_parquet(tmp_path / "place=__HIVE_DEFAULT_PARTITION__" / "x.parquet", one)
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9)
    for dictionaries in (False, True):
        tables = [
            read_fragment(f, dictionaries=dictionaries) for f in dataset.fragments
        ]
        found = {value for t in tables for value in t.column("place").to_pylist()}
        assert found == {"São Paulo", None}


def test_folders_of_different_depth_are_refused(tmp_path: Path) -> None:
    write_months(tmp_path, [1])
    write_parquet(tmp_path / "part-0.parquet", pa.table({"a": [1]}))
    with pytest.raises(ValueError, match="use the same keys for all files"):
        open_dataset(str(tmp_path), rows_per_fragment=9)
