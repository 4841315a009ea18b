"""Tests of readers that go on in the middle of a row group."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.data import row_readers
from tasks.data.datasets import Dataset, open_dataset
from tasks.data.fragments import iter_tables, read_fragment

ROWS = 10_000


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """Leave no reader to other tests."""
    row_readers.KEPT.clear()
    yield
    for reader in row_readers.KEPT.values():
        reader.close()
    row_readers.KEPT.clear()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of rows of all batches that are decoded."""
    found: list[int] = []
    iter_batches = pq.ParquetFile.iter_batches

    def counting(file: pq.ParquetFile, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for batch in iter_batches(file, *args, **kwargs):
            found.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counting)
    return found


def one_row_group(folder: Path) -> Dataset:
    """Return a dataset of one file with one row group, in ten fragments."""
    path = folder / "large.parquet"
    words = [f"w{i % 7}" for i in range(ROWS)]
    table = pa.table({"a": np.arange(ROWS), "b": words})
    pq.write_table(table, path, row_group_size=ROWS, data_page_size=1000)
    return open_dataset(str(path), rows_per_fragment=1000)


def lengths(dataset: Dataset, number: int, rows: int) -> list[tuple[int, int]]:
    """Return the first value and the length of each table of a fragment."""
    tables = iter_tables(dataset.fragments[number], rows)
    return [(t.column("a")[0].as_py(), t.num_rows) for t in tables]


def test_a_row_group_in_many_fragments_is_decoded_once(
    tmp_path: Path, decoded: list[int]
) -> None:
    dataset = one_row_group(tmp_path)
    read = [read_fragment(fragment) for fragment in dataset.fragments]
    table = pa.concat_tables(read)
    assert table.equals(pq.read_table(dataset.sources[0].path))
    assert len(dataset.fragments) == 10
    assert sum(decoded) == ROWS
    assert row_readers.KEPT == {}


def test_every_process_decodes_a_row_group_once(
    tmp_path: Path, decoded: list[int]
) -> None:
    dataset = one_row_group(tmp_path)
    for fragment in dataset.fragments[1::3]:
        table = read_fragment(fragment)
        assert table.column("a")[0].as_py() == fragment.first
    assert sum(decoded) == 8000


@pytest.mark.parametrize("rows", [64, 300, 999, 1000, 5000])
def test_tables_are_the_same_wherever_the_reader_was(tmp_path: Path, rows: int) -> None:
    dataset = one_row_group(tmp_path)
    fresh = []
    for number in range(10):
        row_readers.KEPT.clear()
        fresh.append(lengths(dataset, number, rows))
    assert [lengths(dataset, number, rows) for number in range(10)] == fresh
    assert lengths(dataset, 9, rows) == fresh[9]
    assert lengths(dataset, 2, rows) == fresh[2]  # backwards


def test_readers_of_other_columns_and_abandoned_ones_are_closed(tmp_path: Path) -> None:
    dataset = one_row_group(tmp_path)
    first, second, *_ = dataset.fragments
    read_fragment(first)
    assert len(row_readers.KEPT) == 1
    read_fragment(first, ["b"])
    (kept,) = row_readers.KEPT
    assert kept.columns == ("b",)
    tables = iter_tables(second, 1000, ["b"])
    next(tables)
    tables.close()  # type: ignore[attr-defined]  # a generator
    assert row_readers.KEPT == {}


def test_a_file_that_was_replaced_is_noticed_though_a_reader_is_open(
    tmp_path: Path,
) -> None:
    dataset = one_row_group(tmp_path)
    path = Path(dataset.sources[0].path)
    read_fragment(dataset.fragments[0])
    other = tmp_path / "other"
    pq.write_table(pa.table({"a": np.zeros(ROWS, int), "b": ["x"] * ROWS}), other)
    os.replace(other, path)
    with pytest.raises(ValueError, match="was changed while the job ran"):
        read_fragment(dataset.fragments[1])


def test_fragments_know_their_share_of_a_file(tmp_path: Path) -> None:
    dataset = one_row_group(tmp_path)
    size = pq.ParquetFile(dataset.sources[0].path).metadata.row_group(0).total_byte_size
    assert [f.byte_size for f in dataset.fragments] == [size // 10] * 10
