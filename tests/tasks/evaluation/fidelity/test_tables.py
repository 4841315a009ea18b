"""Tests of the samples of rows that are compared."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.data.datasets import open_dataset
from tasks.evaluation.fidelity import tables


def test_rows_of_a_dataset_are_sampled_evenly_from_its_files(tmp_path: Path) -> None:
    for k in range(4):
        pq.write_table(pa.table({"file": [k] * 100}), tmp_path / f"{k}.parquet")
    dataset = open_dataset(str(tmp_path), rows_per_fragment=40)

    rows = tables.sample_dataset(dataset, ["file"], 40)

    assert np.bincount(rows["file"].to_numpy()).tolist() == [10] * 4


def test_a_split_without_rows_is_named() -> None:
    with pytest.raises(ValueError, match="has no test rows to compare with"):
        tables.sample_split("prepared", {"files": []}, "test", ["a"], 10)


def test_random_rows_keep_their_order_if_asked() -> None:
    table = pa.table({"a": range(100)})
    rng = np.random.default_rng(0)
    rows = tables.take_random(table, 20, rng, ordered=True)["a"].to_pylist()
    assert rows == sorted(set(rows)) and len(rows) == 20


def test_many_pairs_of_columns_are_sampled() -> None:
    assert tables.column_pairs("abc") == [("a", "b"), ("a", "c"), ("b", "c")]
    pairs = tables.column_pairs([f"c{k}" for k in range(200)])
    assert len(set(pairs)) == tables.MAX_PAIRS
