from pathlib import Path

import pyarrow as pa
import pytest

from tasks.data.datasets import open_dataset
from tasks.data.fragments import read_fragment
from tasks.data.schema import check_columns, check_types
from tests.support.parquet import read_rows, write_parquet


def test_columns_may_stand_in_another_order_and_encoding(tmp_path: Path) -> None:
    first = pa.table({"a": [1, 2], "b": ["x", "y"]})
    second = pa.table({"b": pa.array(["z", None]).dictionary_encode(), "a": [3, 4]})
    third = pa.table({"a": pa.nulls(1), "b": pa.nulls(1)})
    for place, table in enumerate((first, second, third)):
        write_parquet(tmp_path / f"{place}.parquet", table)
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9)
    table = read_rows(dataset)
    assert table.column("a").to_pylist() == [1, 2, 3, 4, None]
    assert table.column("b").to_pylist() == ["x", "y", "z", None, None]
    assert table.schema.types == [pa.int64(), pa.string()]
    last = read_fragment(dataset.fragments[-1], dictionaries=True)
    assert last.column("b").to_pylist() == [None]


@pytest.mark.parametrize(("fewer", "more"), [("a", "b"), ("b", "a")])
def test_a_column_missing_from_one_file_is_named(
    tmp_path: Path, fewer: str, more: str
) -> None:
    write_parquet(tmp_path / f"{fewer}.parquet", pa.table({"a": [1]}))
    write_parquet(tmp_path / f"{more}.parquet", pa.table({"a": [1], "b": [2]}))
    message = f"{fewer}.parquet: column 'b' is missing.*{more}.parquet"
    with pytest.raises(ValueError, match=message):
        open_dataset(str(tmp_path), rows_per_fragment=9)


def test_a_type_that_changes_between_files_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", pa.table({"a": [1]}))
    write_parquet(tmp_path / "b.parquet", pa.table({"a": ["x"]}))
    message = r"column 'a' is int64 in .*a.parquet but string in .*b.parquet"
    with pytest.raises(ValueError, match=message):
        open_dataset(str(tmp_path), rows_per_fragment=9)


def test_a_column_that_stands_twice_is_named(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    path = write_parquet(tmp_path / "a.parquet", twice)
    with pytest.raises(ValueError, match="column 'a' occurs more than once"):
        open_dataset(str(path), rows_per_fragment=9)


def test_a_named_column_that_is_not_there_is_named_with_its_neighbour() -> None:
    schema = pa.schema([("distance", pa.int64()), ("delay", pa.int64())])
    with pytest.raises(ValueError, match="data.id: .* 'distnce'; did you mean 'dist"):
        check_columns(schema, {"data.id": ["distnce"]})
    with pytest.raises(ValueError, match="no column 'qqq'.*'distance', 'delay'"):
        check_columns(schema, {"data.exclude": ["qqq"]})


@pytest.mark.parametrize(
    "type",
    [
        pa.list_(pa.list_(pa.int64())),
        pa.list_(pa.map_(pa.string(), pa.int8())),
        pa.struct([("x", pa.int8())]),
        pa.map_(pa.string(), pa.int8()),
    ],
)
def test_nested_columns_are_refused_with_the_remedy(type: pa.DataType) -> None:
    schema = pa.schema([("deep", type)])
    with pytest.raises(ValueError, match="column 'deep' has type .*data.exclude"):
        check_types(schema, ["deep"])
