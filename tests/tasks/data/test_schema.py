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
        open_dataset(str(tmp_path), rows_per_fragment=9, on_missing="error")


@pytest.mark.parametrize(("fewer", "more"), [("a", "b"), ("b", "a")])
def test_a_column_is_null_in_files_that_lack_it(
    tmp_path: Path, fewer: str, more: str
) -> None:
    write_parquet(tmp_path / f"{fewer}.parquet", pa.table({"a": [1]}))
    write_parquet(tmp_path / f"{more}.parquet", pa.table({"a": [1], "b": ["x"]}))
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9)
    assert dataset.missing_columns == {"b": 1}
    assert dataset.schema.field("b").nullable
    assert set(read_rows(dataset).column("b").to_pylist()) == {None, "x"}
    (without,) = [f for f in dataset.fragments if f.name == f"{fewer}.parquet"]
    read = read_fragment(without, ["b"], dictionaries=True)
    assert read.column("b").to_pylist() == [None]


def test_a_column_that_held_nulls_in_training_may_be_missing(tmp_path: Path) -> None:
    path = str(write_parquet(tmp_path / "a.parquet", pa.table({"a": [1]})))
    for nullable in (True, False):
        trained = pa.schema([pa.field("b", pa.int8(), nullable)])
        dataset = open_dataset(path, rows_per_fragment=9, trained=trained)
        assert dataset.missing_columns == ({"b": 1} if nullable else {})
    dataset = open_dataset(
        path, rows_per_fragment=9, on_missing="error", trained=trained
    )
    assert dataset.schema.names == ["a"]


WHOLE = pa.array([1.0, None, float("nan")])


@pytest.mark.parametrize(
    ("first", "second", "type", "values"),
    [
        (pa.array(["x"]), pa.array(["y"], pa.large_string()), pa.string(), ["x", "y"]),
        (
            pa.array(["x"], pa.string_view()),
            pa.array(["y"]).dictionary_encode(),
            pa.string(),
            ["x", "y"],
        ),
        (pa.array([1], pa.int32()), pa.array([2**40]), pa.int64(), [1, 2**40]),
        (pa.array([1.5], pa.float32()), pa.array([0.1]), pa.float64(), [1.5, 0.1]),
        (pa.array([2], pa.int32()), WHOLE, pa.int64(), [2, 1, None, None]),
        (
            pa.array([1], pa.timestamp("ms")),
            pa.array([5], pa.timestamp("us")),
            pa.timestamp("us"),
            [1000, 5],
        ),
        (
            pa.array([[1]], pa.list_(pa.int8())),
            pa.array([[2, None]], pa.large_list(pa.int64())),
            pa.list_(pa.int64()),
            [[1], [2, None]],
        ),
    ],
)
def test_types_of_the_same_meaning_are_read_as_one(
    tmp_path: Path, first: pa.Array, second: pa.Array, type: pa.DataType, values: list
) -> None:
    for order in ((first, second), (second, first)):
        for place, array in enumerate(order):
            write_parquet(tmp_path / f"{place}.parquet", pa.table({"a": array}))
        dataset = open_dataset(str(tmp_path), rows_per_fragment=9)
        column = read_rows(dataset).column("a")
        assert column.type == type
        if pa.types.is_timestamp(type):
            column = column.cast(pa.int64())
        assert sorted(column.to_pylist(), key=str) == sorted(values, key=str)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (pa.array([1]), pa.array([2.5]), "b.parquet.*holds 2.5.*as integers"),
        (pa.array([1.0]), pa.array([True]), "is double in .* but bool in"),
        (
            pa.array([0], pa.timestamp("us")),
            pa.array([0], pa.timestamp("us", "UTC")),
            "write both files with the same type",
        ),
        (
            pa.array([0], pa.timestamp("ns")),
            pa.array([2**61], pa.timestamp("us")),
            "b.parquet: column 'a' is timestamp.* does not fit into timestamp.ns",
        ),
    ],
)
def test_a_change_of_meaning_is_refused(
    tmp_path: Path, first: pa.Array, second: pa.Array, message: str
) -> None:
    write_parquet(tmp_path / "a.parquet", pa.table({"a": first}))
    write_parquet(tmp_path / "b.parquet", pa.table({"a": second}))
    with pytest.raises(ValueError, match=message):
        read_rows(open_dataset(str(tmp_path), rows_per_fragment=9))


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
        pa.map_(pa.string(), pa.list_(pa.int8())),
    ],
)
def test_no_kind_fits_a_column_that_cannot_be_modelled(type: pa.DataType) -> None:
    schema = pa.schema([("deep", type)])
    with pytest.raises(ValueError, match="columns.deep: kind real .* remove the entry"):
        check_types(schema, {"deep": "real"})
