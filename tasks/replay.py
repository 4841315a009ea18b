"""One month of a replay: who would have predicted its rows best."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks import backfill, datasets, evaluate, figures, manifest, storage
from tasks.intervals import interval
from tasks.models import load

PICTURE = "nll.png"

Json = dict[str, Any]  # JSON-able values


def bring(source: str, partition: str, folder: str, rows: int | None) -> int:
    """Copies a partition's files to the dataset of a replay, as if they had just come.

    Args:
        source: The whole dataset.
        partition: Name of the partition.
        folder: The dataset that grows.
        rows: Rows of each file that are kept, evenly chosen; all if None.

    Returns:
        How many rows came.
    """
    root, files = datasets.find_files(source)
    files = [file for file in files if backfill.name_of(file) == partition]
    came = 0
    for file in files:
        filesystem, inner = storage.resolve(storage.join(root, file))
        with filesystem.open_input_file(inner) as opened:
            table = pq.read_table(opened)
        if rows is not None and rows < table.num_rows:
            chosen = np.linspace(0, table.num_rows - 1, rows).astype(np.int64)
            table = table.take(pa.array(chosen))
        with storage.publish(storage.join(folder, file)) as unfinished:
            pq.write_table(table, unfinished, compression="zstd")
        came += table.num_rows
    return came


def leave(folder: str, partition: str) -> None:
    """Deletes a partition that has left the window."""
    for name in (partition, f"{partition}.parquet"):
        storage.delete(storage.join(folder, name))


def compare(models: dict[str, str | None], prepared: str, partition: str) -> Json:
    """The NLL of a partition's held-out rows by several models, in nats per row.

    Args:
        models: Folders by name; None where there is no such model yet.
        prepared: The prepared dataset that ends with the partition.
        partition: Its name.

    Returns:
        `rows`, and by name `nll` and `low` and `high` of its 95 % interval, or None.
    """
    about = storage.read_json(storage.join(prepared, manifest.MANIFEST))
    pieces = [
        piece
        for piece in evaluate.test_pieces(prepared, about)
        if of_partition(about, piece.path, partition)
    ]
    found: Json = {"rows": sum(piece.rows for piece in pieces)}
    for name, folder in models.items():
        if folder is None:
            found[name] = None
            continue
        density = load(folder)
        nll = -np.concatenate(
            [
                density.log_prob(table)
                for piece in pieces
                for table in evaluate.read_batches(piece.path, density.columns)
            ]
        )
        low, high = interval(nll, 0.95)
        found[name] = {"nll": float(nll.mean()), "low": low, "high": high}
    return found


def of_partition(about: Json, path: str, partition: str) -> bool:
    """Whether a file of test rows comes from a partition."""
    part = path.rpartition("/")[2].removesuffix(".parquet")
    return backfill.name_of(about["sources"][part]["name"]) == partition


def draw(folder: str, months: Sequence[Json]) -> str:
    """Writes the chart of a replay; its path."""
    path = storage.join(folder, PICTURE)
    with matplotlib.rc_context(figures.STYLE):
        figures.save(figures.replayed(months), path)
    return path
