"""Samples of training, held-out and synthetic rows that fidelity compares."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from tasks.data.datasets import Dataset, open_dataset
from tasks.data.fragments import read_fragment
from tasks.data.schema import trained_schema
from tasks.evaluation import held_out
from tasks.runtime import storage
from tasks.runtime.model_store import check_readable

MAX_PAIRS = 5000
"""Maximum number of pairs of columns; of more, so many are drawn at random."""

Json = dict[str, Any]  # JSON values


@dataclass(frozen=True)
class Tables:
    """Real and synthetic rows with the same columns.

    Attributes:
        train: Real rows that the model was trained on.
        held_out: Real rows that it was not trained on.
        synthetic: Rows sampled from the model.
    """

    train: pa.Table
    held_out: pa.Table
    synthetic: pa.Table


def open_samples(density: TableDensity, path: str, rows: int) -> Dataset:
    """Open a dataset of synthetic rows.

    Args:
        density: The model, whose columns the dataset must have.
        path: Path of the dataset, local or S3.
        rows: Number of rows that will be sampled from it.

    Raises:
        ValueError: The dataset lacks a column of the model.
    """
    dataset = open_dataset(
        path,
        rows_per_fragment=max(1, rows),
        trained=trained_schema(density.encoder),
    )
    check_readable(density, path, dataset.schema)
    return dataset


def sample_dataset(dataset: Dataset, columns: Sequence[str], rows: int) -> pa.Table:
    """Sample up to `rows` rows of a dataset, evenly from all fragments."""
    share = min(1.0, rows / dataset.rows)
    parts = []
    for fragment in dataset.fragments:
        table = read_fragment(fragment, columns).select(list(columns))
        parts.append(_sample(table, share, fragment.index))
    return pa.concat_tables(parts).slice(0, rows)


def sample_split(
    prepared: str, manifest: Json, split: str, columns: Sequence[str], rows: int
) -> pa.Table:
    """Sample up to `rows` rows of a split of a prepared dataset, evenly from all files.

    Args:
        prepared: Directory of the prepared dataset.
        manifest: Its manifest.
        split: Name of the split, such as `train`.
        columns: Columns to read.
        rows: Maximum number of rows.

    Raises:
        ValueError: The split has no rows.
    """
    files = sorted(
        (entry["path"], entry["rows"])
        for entry in manifest["files"]
        if entry["path"].startswith(f"{split}/") and entry["rows"]
    )
    if not files:
        raise ValueError(f"{prepared}: has no {split} rows to compare with")
    share = min(1.0, rows / sum(count for _, count in files))
    parts = [
        _sample(held_out.read(storage.join(prepared, name), list(columns)), share, k)
        for k, (name, _) in enumerate(files)
    ]
    return pa.concat_tables(parts).slice(0, rows)


def take_random(
    table: pa.Table, count: int, rng: np.random.Generator, *, ordered: bool = False
) -> pa.Table:
    """Take `count` random rows of a table, in random order unless `ordered`."""
    chosen = rng.permutation(len(table))[:count]
    return table.take(pa.array(np.sort(chosen) if ordered else chosen))


def column_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return all pairs of columns, or `MAX_PAIRS` random ones of more."""
    pairs = list(itertools.combinations(names, 2))
    if len(pairs) > MAX_PAIRS:
        rng = np.random.default_rng(0)
        pairs = [pairs[k] for k in sorted(rng.permutation(len(pairs))[:MAX_PAIRS])]
    return pairs


def _sample(table: pa.Table, share: float, seed: int) -> pa.Table:
    """Sample a share of the rows of a table, in their order."""
    if share >= 1:
        return table
    count = int(np.ceil(share * len(table)))
    return take_random(table, count, np.random.default_rng(seed), ordered=True)
