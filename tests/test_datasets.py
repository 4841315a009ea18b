import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from tasks import datasets, storage
from tasks.datasets import Dataset, open_dataset


def write(path: Path, table: pa.Table | None = None, **options: object) -> Path:
    """A Parquet file at `path`, of the rows 0 … 9 if none are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        pa.table({"a": range(10), "b": list("abcdefghij")}) if table is None else table
    )
    pq.write_table(rows, path, **options)
    return path


def rows_of(dataset: Dataset) -> pa.Table:
    """All rows, fragment after fragment."""
    return pa.concat_tables([datasets.read(f) for f in dataset.fragments])


def months(folder: Path, numbers: list[int]) -> Path:
    """A hive dataset with one file per month, whose rows hold the month too."""
    for month in numbers:
        table = pa.table({"a": [month * 10, month * 10 + 1]})
        write(folder / f"month={month}" / "part-0.parquet", table)
    return folder


def test_a_file_is_a_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    dataset = open_dataset(str(path), rows_per_fragment=100)
    assert dataset.rows == 10
    assert dataset.files == ("a.parquet",)
    assert rows_of(dataset).equals(pq.read_table(path))


def test_a_folder_is_read_in_natural_order_and_hive_parts_are_columns(
    tmp_path: Path,
) -> None:
    months(tmp_path / "data", [1, 2, 10, 12])
    dataset = open_dataset(str(tmp_path / "data"), rows_per_fragment=100)
    assert [f.partition for f in dataset.fragments] == [
        (("month", str(m)),) for m in (1, 2, 10, 12)
    ]
    table = rows_of(dataset)
    assert table.column("a").to_pylist() == [10, 11, 20, 21, 100, 101, 120, 121]
    assert table.column("month").to_pylist() == [1, 1, 2, 2, 10, 10, 12, 12]
    assert table.schema.field("month").type == pa.int64()


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("data/month=[1-9]", [1, 2]),
        ("data/month=1*/part-?.parquet", [1, 10, 12]),
        ("data/**/part-0.parquet", [1, 2, 10, 12]),
        ("data/month=2", [2]),
        ("data/month=2/part-0.parquet", [2]),
        ("d*/month=1[0-2]/*", [10, 12]),
    ],
)
def test_a_glob_names_files_or_folders(
    tmp_path: Path, pattern: str, expected: list[int]
) -> None:
    months(tmp_path / "data", [1, 2, 10, 12])
    dataset = open_dataset(str(tmp_path / pattern), rows_per_fragment=100)
    found = rows_of(dataset).column("month").unique().to_pylist()
    assert found == expected


def test_hive_values_are_decoded(tmp_path: Path) -> None:
    one = pa.table({"a": [1]})
    write(tmp_path / "place=S%C3%A3o%20Paulo" / "x.parquet", one)
    write(tmp_path / "place=__HIVE_DEFAULT_PARTITION__" / "x.parquet", one)
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9)
    for dictionaries in (False, True):
        tables = [
            datasets.read(f, dictionaries=dictionaries) for f in dataset.fragments
        ]
        found = {value for t in tables for value in t.column("place").to_pylist()}
        assert found == {"São Paulo", None}


def test_hidden_and_unfinished_names_do_not_count(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    for name in ("_SUCCESS", ".a.crc", f"{storage.TEMPORARY}b.parquet", "c.tmp"):
        (tmp_path / name).write_text("no Parquet")
    write(tmp_path / "_old" / "b.parquet")
    assert open_dataset(str(tmp_path), rows_per_fragment=9).files == ("a.parquet",)


@pytest.mark.parametrize(
    "most, sizes", [(7, [6, 4]), (3, [3] * 3 + [1]), (2, [2, 1] * 3 + [1]), (99, [10])]
)
def test_fragments_join_row_groups_and_divide_large_ones(
    tmp_path: Path, most: int, sizes: list[int]
) -> None:
    path = write(tmp_path / "a.parquet", row_group_size=3)
    dataset = open_dataset(str(path), rows_per_fragment=most)
    assert [f.rows for f in dataset.fragments] == sizes
    assert [f.index for f in dataset.fragments] == list(range(len(sizes)))
    assert rows_of(dataset).equals(pq.read_table(path))
    firsts = [datasets.read(f).column("a")[0].as_py() for f in dataset.fragments]
    assert [f.first for f in dataset.fragments] == firsts


def test_batches_are_no_larger_than_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    (fragment,) = open_dataset(str(path), rows_per_fragment=99).fragments
    tables = list(datasets.batches(fragment, 4, ["b"]))
    assert [t.num_rows for t in tables] == [4, 4, 2]
    assert pa.concat_tables(tables).to_pydict() == {"b": list("abcdefghij")}


def test_the_fingerprint_is_of_the_content_alone(tmp_path: Path) -> None:
    months(tmp_path / "one", [1, 2])
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    first = open_dataset(str(tmp_path / "one"), rows_per_fragment=9).fingerprint
    copy = open_dataset(str(tmp_path / "two"), rows_per_fragment=1).fingerprint
    assert first == copy
    months(tmp_path / "two", [3])
    more = open_dataset(str(tmp_path / "two"), rows_per_fragment=9).fingerprint
    assert more != first
    write(tmp_path / "one/month=1/part-0.parquet", pa.table({"a": [10, 12]}))
    other = open_dataset(str(tmp_path / "one"), rows_per_fragment=9).fingerprint
    assert other != first


def test_columns_may_stand_in_another_order_and_encoding(tmp_path: Path) -> None:
    first = pa.table({"a": [1, 2], "b": ["x", "y"]})
    second = pa.table({"b": pa.array(["z", None]).dictionary_encode(), "a": [3, 4]})
    third = pa.table({"a": pa.nulls(1), "b": pa.nulls(1)})
    for place, table in enumerate((first, second, third)):
        write(tmp_path / f"{place}.parquet", table)
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9)
    table = rows_of(dataset)
    assert table.column("a").to_pylist() == [1, 2, 3, 4, None]
    assert table.column("b").to_pylist() == ["x", "y", "z", None, None]
    assert table.schema.types == [pa.int64(), pa.string()]
    last = datasets.read(dataset.fragments[-1], dictionaries=True)
    assert last.column("b").to_pylist() == [None]


def test_strings_may_be_read_as_dictionaries(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", row_group_size=3)
    (fragment,) = open_dataset(str(path), rows_per_fragment=99).fragments
    table = datasets.read(fragment, dictionaries=True)
    assert table.schema.field("b").type == datasets.WORDS
    assert table.to_pydict() == pq.read_table(path).to_pydict()


def cut(path: Path, keep: float) -> None:
    """Keeps the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def damage_page(path: Path) -> None:
    """Overwrites data behind the first bytes, so that the footer stays good."""
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)


FAULTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_text("a,b\n1,2\n" * 9), "is not a Parquet file"),
    (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    (lambda path: cut(path, 0.7), "is a truncated Parquet file"),
]


@pytest.mark.parametrize("spoil, message", FAULTS)
def test_a_file_that_cannot_be_read_stops_or_is_set_aside(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / "a.parquet")
    spoil(write(tmp_path / "b.parquet"))
    with pytest.raises(ValueError, match=f"b.parquet: {message}.*quarantine"):
        open_dataset(str(tmp_path), rows_per_fragment=9)
    dataset = open_dataset(str(tmp_path), rows_per_fragment=9, on_bad_file="quarantine")
    assert dataset.files == ("a.parquet",)
    assert [b.name for b in dataset.bad_files] == ["b.parquet"]
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(ValueError, match=r"none of its 1 files can be read \(.+: "):
        open_dataset(str(tmp_path), rows_per_fragment=9, on_bad_file="quarantine")


def test_a_damaged_footer_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    content = bytearray(path.read_bytes())
    content[-40:-8] = b"\xff" * 32
    path.write_bytes(content)
    with pytest.raises(ValueError, match="a.parquet: is damaged"):
        open_dataset(str(path), rows_per_fragment=9)


def test_damage_in_the_data_shows_when_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    damage_page(path)
    (fragment,) = open_dataset(str(path), rows_per_fragment=99).fragments
    with pytest.raises(pa.ArrowInvalid, match="a.parquet: is damaged"):
        datasets.read(fragment)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    path.chmod(0)
    with pytest.raises(PermissionError, match="a.parquet: no permission"):
        open_dataset(str(path), rows_per_fragment=9)


def test_refused_reading_is_no_fault_of_the_content() -> None:
    refused = PermissionError(13, "Permission denied")
    assert datasets.content_fault(refused) is None
    assert datasets.content_fault(OSError("AWS Error NETWORK_CONNECTION")) is None
    assert datasets.content_fault(OSError("Unexpected end of stream")) is not None
    assert datasets.content_fault(pa.ArrowInvalid("x\ny")) == "x"


@pytest.mark.parametrize("name", ["nowhere", "nowhere*", "empty", "empty/*"])
def test_where_nothing_stands_nothing_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/{name.split('*')[0]}"):
        open_dataset(str(tmp_path / name), rows_per_fragment=9)


def test_files_without_rows_are_no_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"a": pa.array([], pa.int64())}))
    with pytest.raises(ValueError, match="holds no rows in 1 files"):
        open_dataset(str(path), rows_per_fragment=9)


def test_a_column_missing_from_one_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.table({"a": [1], "b": [2]}))
    write(tmp_path / "b.parquet", pa.table({"a": [1]}))
    with pytest.raises(
        ValueError, match=r"b.parquet: column 'b' is missing.*a.parquet"
    ):
        open_dataset(str(tmp_path), rows_per_fragment=9)
    write(tmp_path / "a.parquet", pa.table({"a": [1]}))
    write(tmp_path / "b.parquet", pa.table({"a": [1], "b": [2]}))
    with pytest.raises(
        ValueError, match=r"a.parquet: column 'b' is missing.*b.parquet"
    ):
        open_dataset(str(tmp_path), rows_per_fragment=9)


def test_a_type_that_changes_between_files_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", pa.table({"a": [1]}))
    write(tmp_path / "b.parquet", pa.table({"a": ["x"]}))
    message = r"column 'a' is int64 in .*a.parquet but string in .*b.parquet"
    with pytest.raises(ValueError, match=message):
        open_dataset(str(tmp_path), rows_per_fragment=9)


def test_a_column_that_stands_twice_is_named(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    path = write(tmp_path / "a.parquet", twice)
    with pytest.raises(ValueError, match="column 'a' occurs more than once"):
        open_dataset(str(path), rows_per_fragment=9)


def test_folders_of_different_depth_are_refused(tmp_path: Path) -> None:
    months(tmp_path, [1])
    write(tmp_path / "part-0.parquet", pa.table({"a": [1]}))
    with pytest.raises(ValueError, match="lay all files out alike"):
        open_dataset(str(tmp_path), rows_per_fragment=9)


def test_a_named_column_that_is_not_there_is_named_with_its_neighbour() -> None:
    schema = pa.schema([("distance", pa.int64()), ("delay", pa.int64())])
    with pytest.raises(ValueError, match="data.id: .* 'distnce'; did you mean 'dist"):
        datasets.check_columns(schema, {"data.id": ["distnce"]})
    with pytest.raises(ValueError, match="no column 'qqq'.*'distance', 'delay'"):
        datasets.check_columns(schema, {"data.exclude": ["qqq"]})


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
    with pytest.raises(ValueError, match="column 'deep' is .*data.exclude"):
        datasets.check_types(schema, ["deep"])


def test_a_dataset_may_stand_in_a_bucket(tmp_path: Path, bucket: str) -> None:
    local = months(tmp_path / "data", [1, 2, 10])
    filesystem, inner = storage.resolve(f"{bucket}/lake")
    pafs.copy_files(str(local), inner, destination_filesystem=filesystem)
    for path, expected in (("lake", [1, 2, 10]), ("lake/month=[1-9]", [1, 2])):
        dataset = open_dataset(f"{bucket}/{path}", rows_per_fragment=99)
        assert rows_of(dataset).column("month").unique().to_pylist() == expected
        again = open_dataset(f"{bucket}/{path}", rows_per_fragment=1)
        assert dataset.fingerprint == again.fingerprint
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        open_dataset(f"{bucket}/nowhere", rows_per_fragment=99)
