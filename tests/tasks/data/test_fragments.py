from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.data.datasets import open_dataset
from tasks.data.fragments import (
    DICTIONARY,
    evenly_spaced,
    iter_tables,
    read_fragment,
)
from tests.support.parquet import damage_page, read_rows, write_parquet


@pytest.mark.parametrize(
    "most, sizes", [(7, [6, 4]), (3, [3] * 3 + [1]), (2, [2, 1] * 3 + [1]), (99, [10])]
)
def test_fragments_join_row_groups_and_divide_large_ones(
    tmp_path: Path, most: int, sizes: list[int]
) -> None:
    path = write_parquet(tmp_path / "a.parquet", row_group_size=3)
    dataset = open_dataset(str(path), rows_per_fragment=most)
    assert [f.rows for f in dataset.fragments] == sizes
    assert [f.index for f in dataset.fragments] == list(range(len(sizes)))
    assert read_rows(dataset).equals(pq.read_table(path))
    firsts = [read_fragment(f).column("a")[0].as_py() for f in dataset.fragments]
    assert [f.first for f in dataset.fragments] == firsts


@pytest.mark.parametrize(
    ("most", "chosen"), [(3, [0, 4, 9]), (6, [0, 2, 4, 5, 7, 9]), (99, list(range(10)))]
)
def test_some_fragments_come_from_all_over_the_dataset(
    tmp_path: Path, most: int, chosen: list[int]
) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    fragments = open_dataset(str(path), rows_per_fragment=1).fragments
    assert [f.index for f in evenly_spaced(fragments, most)] == chosen


def test_batches_are_no_larger_than_asked(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    (fragment,) = open_dataset(str(path), rows_per_fragment=99).fragments
    tables = list(iter_tables(fragment, 4, ["b"]))
    assert [t.num_rows for t in tables] == [4, 4, 2]
    assert pa.concat_tables(tables).to_pydict() == {"b": list("abcdefghij")}


def test_strings_may_be_read_as_dictionaries(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", row_group_size=3)
    (fragment,) = open_dataset(str(path), rows_per_fragment=99).fragments
    table = read_fragment(fragment, dictionaries=True)
    assert table.schema.field("b").type == DICTIONARY
    assert table.to_pydict() == pq.read_table(path).to_pydict()


def test_damage_in_the_data_shows_when_it_is_read(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    damage_page(path)
    (fragment,) = open_dataset(str(path), rows_per_fragment=99).fragments
    with pytest.raises(pa.ArrowInvalid, match="a.parquet: is damaged"):
        read_fragment(fragment)
