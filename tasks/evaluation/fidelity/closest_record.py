"""Distances to the closest record: whether synthetic rows copy training rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.evaluation.fidelity.classifiers import MAX_CATEGORIES
from tasks.evaluation.fidelity.codes import encode_categories
from tasks.evaluation.fidelity.tables import Tables, take_random
from tasks.reports.column_values import to_numbers

MAX_ROWS = 10_000
"""Maximum number of rows of each table between which distances are computed."""

BATCH_ROWS = 512
"""Number of rows whose distances to all other rows are held in memory at once."""

Floats = NDArray[np.float64]
Json = dict[str, Any]  # JSON values


def compare_closest(tables: Tables) -> Json:
    """Measure whether synthetic rows are closer to training than to held-out rows.

    Numbers are compared by their rank among the training rows, from 0 to 1; categories
    that differ, and nulls, have the distance 1.

    Returns:
        `share` (of synthetic rows closer to a training row than to any of as many
        held-out rows; ties count half; 0.5 without memorisation), `copies` and
        `held_out_copies` (shares of rows equal to a training or a held-out row),
        `distance_to_train` and `distance_to_held_out` (means), and `rows` (number of
        training rows).
    """
    size = min(len(tables.train), len(tables.held_out), MAX_ROWS)
    rng = np.random.default_rng(0)
    picked = [
        take_random(table, count, rng)
        for table, count in (
            (tables.train, size),
            (tables.held_out, size),
            (tables.synthetic, min(len(tables.synthetic), MAX_ROWS)),
        )
    ]
    train, held_out, synthetic = to_points(tables.train, picked)
    to_train, to_held_out = (
        squared_distances(synthetic, others) for others in (train, held_out)
    )
    tie = np.isclose(to_train, to_held_out, atol=1e-9)
    return {
        "share": float(np.mean(np.where(tie, 0.5, to_train < to_held_out))),
        "copies": float(np.mean(to_train <= 1e-9)),
        "held_out_copies": float(np.mean(to_held_out <= 1e-9)),
        "distance_to_train": float(np.sqrt(to_train).mean()),
        "distance_to_held_out": float(np.sqrt(to_held_out).mean()),
        "rows": size,
    }


def to_points(reference: pa.Table, tables: Sequence[pa.Table]) -> list[Floats]:
    """Encode rows as points, (rows, n), whose Euclidean distances compare them.

    Args:
        reference: Rows among which numbers are ranked.
        tables: Tables of the same columns.
    """
    parts: list[list[Floats]] = [[] for _ in tables]
    for name in reference.column_names:
        known = to_numbers(reference[name])
        for k, table in enumerate(tables):
            values = None if known is None else to_numbers(table[name])
            if known is None or values is None:
                _, codes = encode_categories(
                    reference[name], table[name], MAX_CATEGORIES
                )
                parts[k].append(np.eye(MAX_CATEGORIES + 2)[codes] / np.sqrt(2))
            else:
                parts[k].append(_rank(values, known))
    points = [np.concatenate(columns, axis=1) for columns in parts]
    used = np.any([table.any(axis=0) for table in points], axis=0)
    return [table[:, used] for table in points]


def _rank(values: Floats, known: Floats) -> Floats:
    """Return the ranks of values among known ones, and which are missing, (rows, 2)."""
    ranked = np.sort(known[np.isfinite(known)])
    missing = np.isnan(values)
    below = np.searchsorted(ranked, values, side="left")
    at_most = np.searchsorted(ranked, values, side="right")
    rank = (below + at_most) / max(2 * len(ranked), 1)
    return np.stack([np.where(missing, 0.5, rank), missing.astype(np.float64)], axis=1)


def squared_distances(points: Floats, others: Floats) -> Floats:
    """Return the squared distance from each point to the nearest of others, (rows,)."""
    squares = (others**2).sum(axis=1)
    nearest = []
    for start in range(0, len(points), BATCH_ROWS):
        batch = points[start : start + BATCH_ROWS]
        least = (squares - 2 * (batch @ others.T)).min(axis=1)
        nearest.append(np.maximum(least + (batch**2).sum(axis=1), 0))
    return np.concatenate(nearest)
