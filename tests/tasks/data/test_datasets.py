import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from tasks.data.datasets import open_dataset
from tasks.runtime import storage
from tests.support.parquet import read_rows, write_months, write_parquet


def test_a_file_is_a_dataset(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    dataset = open_dataset(str(path), rows_per_fragment=100)
    assert dataset.rows == 10
    assert dataset.files == ("a.parquet",)
    assert read_rows(dataset).equals(pq.read_table(path))


def test_a_folder_is_read_in_natural_order_and_hive_parts_are_columns(
    tmp_path: Path,
) -> None:
    write_months(tmp_path / "data", [1, 2, 10, 12])
    dataset = open_dataset(str(tmp_path / "data"), rows_per_fragment=100)
    assert [f.partition for f in dataset.fragments] == [
        (("month", str(m)),) for m in (1, 2, 10, 12)
    ]
    table = read_rows(dataset)
    assert table.column("a").to_pylist() == [10, 11, 20, 21, 100, 101, 120, 121]
    assert table.column("month").to_pylist() == [1, 1, 2, 2, 10, 10, 12, 12]
    assert table.schema.field("month").type == pa.int64()


def test_the_fingerprint_is_of_the_content_alone(tmp_path: Path) -> None:
    write_months(tmp_path / "one", [1, 2])
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first = open_dataset(str(tmp_path / "one"), rows_per_fragment=9).fingerprint
    copy = open_dataset(str(tmp_path / "two"), rows_per_fragment=1).fingerprint
    assert first == copy
    write_months(tmp_path / "two", [3])
    more = open_dataset(str(tmp_path / "two"), rows_per_fragment=9).fingerprint
    assert more != first
    write_parquet(tmp_path / "one/month=1/part-0.parquet", pa.table({"a": [10, 12]}))
    other = open_dataset(str(tmp_path / "one"), rows_per_fragment=9).fingerprint
    assert other != first


def test_files_without_rows_are_no_dataset(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "a.parquet", pa.table({"a": pa.array([], pa.int64())})
    )
    with pytest.raises(ValueError, match="no rows in 1 files"):
        open_dataset(str(path), rows_per_fragment=9)


def test_a_dataset_may_stand_in_a_bucket(tmp_path: Path, bucket: str) -> None:
    local = write_months(tmp_path / "data", [1, 2, 10])
    filesystem, inner = storage.resolve(f"{bucket}/lake")
    pafs.copy_files(str(local), inner, destination_filesystem=filesystem)
    for path, expected in (("lake", [1, 2, 10]), ("lake/month=[1-9]", [1, 2])):
        dataset = open_dataset(f"{bucket}/{path}", rows_per_fragment=99)
        assert read_rows(dataset).column("month").unique().to_pylist() == expected
        again = open_dataset(f"{bucket}/{path}", rows_per_fragment=1)
        assert dataset.fingerprint == again.fingerprint
    with pytest.raises(FileNotFoundError, match="no such file or directory"):
        open_dataset(f"{bucket}/nowhere", rows_per_fragment=99)
