"""One month of a replay: how well several models predict its held-out rows."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from tasks.data.files import find_files
from tasks.evaluation import held_out
from tasks.evaluation.intervals import bootstrap_interval
from tasks.inference.partitions import partition_of
from tasks.reports import figures
from tasks.reports.figures import BLUE, GREY, GRID_COLOUR, ORANGE, shorten
from tasks.runtime import manifest, storage
from tasks.runtime.model_store import load

FIGURE = "nll"
"""Name of the figure of a replay."""

CONFIDENCE = 0.95
"""Confidence of the intervals of the NLL."""

LINES: dict[str, dict[str, Any]] = {
    "never retrained": {"color": GREY, "marker": "s"},
    "champion": {"color": ORANGE, "marker": "o"},
    "challenger": {"color": BLUE, "marker": "o"},
}
"""Style of the line of each compared model."""

Json = dict[str, Any]  # JSON values


def add_partition(source: str, partition: str, folder: str, rows: int | None) -> int:
    """Copy the files of a partition to the growing dataset of a replay.

    Args:
        source: The whole dataset.
        partition: Name of the partition.
        folder: The growing dataset.
        rows: Number of evenly spaced rows of each file to keep; all if None.

    Returns:
        The number of copied rows.
    """
    dataset = find_files(source)
    files = [file for file in dataset.names if partition_of(file) == partition]
    copied = 0
    for file in files:
        table = held_out.read(storage.join(dataset.root, file))
        if rows is not None and rows < table.num_rows:
            chosen = np.linspace(0, table.num_rows - 1, rows).astype(np.int64)
            table = table.take(pa.array(chosen))
        with storage.publish(storage.join(folder, file)) as unfinished:
            pq.write_table(table, unfinished, compression="zstd")
        copied += table.num_rows
    return copied


def remove_partition(folder: str, partition: str) -> None:
    """Delete a partition, a directory or a file, from the dataset of a replay."""
    for name in (partition, f"{partition}.parquet"):
        storage.delete(storage.join(folder, name))


def compare_nll(models: dict[str, str | None], prepared: str, partition: str) -> Json:
    """Compute the NLL of a partition's held-out rows under several models.

    Args:
        models: Directories of the models by name; None where there is no model yet.
        prepared: The prepared dataset that ends with the partition.
        partition: Name of the partition.

    Returns:
        `rows`, and for each model None or `nll`, `low` and `high`: the mean in nats per
        row and its 95 % interval.
    """
    about = manifest.read_finished(prepared)
    files = [
        file
        for file in held_out.list_test_files(prepared, about)
        if _is_from(about, file.path, partition)
    ]
    result: Json = {"rows": sum(file.rows for file in files)}
    for name, folder in models.items():
        if folder is None:
            result[name] = None
            continue
        density = load(folder)
        nll = -np.concatenate(
            [
                density.log_prob(table)
                for file in files
                for table in held_out.read_batches(file.path, density.columns)
            ]
        )
        low, high = bootstrap_interval(nll, CONFIDENCE)
        result[name] = {"nll": float(nll.mean()), "low": low, "high": high}
    return result


def _is_from(about: Json, path: str, partition: str) -> bool:
    """Return whether a file of test rows comes from a partition."""
    part = path.rpartition("/")[2].removesuffix(".parquet")
    return partition_of(about["sources"][part]["name"]) == partition


def draw(folder: str, months: Sequence[Json]) -> str:
    """Draw the NLL by month to a PNG file in a directory and return its path."""
    figures.save_all({FIGURE: partial(draw_nll, months)}, folder)
    return storage.join(folder, f"{FIGURE}.png")


def draw_nll(months: Sequence[Json]) -> Figure:
    """Draw the NLL of each month's held-out rows under each of the compared models."""
    figure, axes = figures.draw_axes(8, 3.6)
    places = range(len(months))
    for name, style in LINES.items():
        known = [k for k in places if months[k][name] is not None]
        nll, low, high = (
            [months[k][name][key] for k in known] for key in ("nll", "low", "high")
        )
        axes.plot(known, nll, label=name, lw=1.6, ms=4, **style)
        axes.fill_between(
            known, low, high, color=style["color"], alpha=0.15, linewidth=0
        )
    top = axes.get_xaxis_transform()
    for k, month in enumerate(months):
        if not month["promoted"]:
            axes.axvspan(k - 0.5, k + 0.5, color="#f4e3dc", zorder=0, lw=0)
        if month["drift"] is not None and month["drift"]["verdict"] == "drift":
            axes.plot(k, 0.97, marker="v", color=ORANGE, ms=7, transform=top)
    axes.set_xticks(places, [shorten(month["partition"], 12) for month in months])
    axes.tick_params(axis="x", labelrotation=30)
    axes.set_ylabel("NLL of held-out rows, nats per row")
    axes.grid(axis="y", color=GRID_COLOUR, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_title(
        "shaded: challenger rejected by the gate; triangle: drift detected",
        loc="right",
        fontsize=8,
    )
    axes.legend()
    return figure
