"""Small Parquet files and datasets for tests."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.data.datasets import Dataset
from tasks.data.fragments import read_fragment


def write_parquet(path: Path, table: pa.Table | None = None, **options: object) -> Path:
    """Write a Parquet file, of ten rows if no table is given, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        pa.table({"a": range(10), "b": list("abcdefghij")}) if table is None else table
    )
    pq.write_table(rows, path, **options)
    return path


def damage_page(path: Path) -> None:
    """Overwrite the first data page of a Parquet file; its footer stays readable."""
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)


def read_rows(dataset: Dataset) -> pa.Table:
    """Read all rows of a dataset, fragment by fragment."""
    return pa.concat_tables([read_fragment(f) for f in dataset.fragments])


def write_months(folder: Path, numbers: list[int]) -> Path:
    """Write a hive dataset with one file per month and return its directory."""
    for month in numbers:
        table = pa.table({"a": [month * 10, month * 10 + 1]})
        write_parquet(folder / f"month={month}" / "part-0.parquet", table)
    return folder
