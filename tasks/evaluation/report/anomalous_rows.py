"""The most anomalous test rows of an evaluation, with explanations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density.scorer import ScoreOptions, Scorer
from ar_models.density.table_density import TableDensity
from ar_models.scoring.explanation import text
from ar_models.tables.arrow import python_values
from tasks.evaluation import evaluate, held_out

ROWS = 10
"""Number of test rows that are explained."""

EXPLAINED_COLUMNS = 4
"""Maximum number of columns in an explanation."""

MIN_CONTRIBUTION = 0.5
"""Contribution to the anomaly score, in nats, from which a column is a reason."""

Json = dict[str, Any]  # JSON values


def most_anomalous(manifest: Json, prepared: str, evaluation: str) -> pa.Table:
    """Read the test rows with the highest anomaly scores, the highest first.

    Args:
        manifest: Manifest of the prepared dataset.
        prepared: Directory of the prepared dataset.
        evaluation: Directory of the evaluation.
    """
    scores = evaluate.read_rows(evaluation)["anomaly_score"].to_numpy()
    order = np.argsort(-scores, kind="stable")[:ROWS]
    files = held_out.list_test_files(prepared, manifest)
    ends = np.cumsum([file.rows for file in files])
    rows = []
    for row in order.tolist():
        k = int(np.searchsorted(ends, row, side="right"))
        first = int(ends[k]) - files[k].rows
        rows.append(held_out.read(files[k].path).slice(row - first, 1))
    return pa.concat_tables(rows)


def explain(density: TableDensity, rows: pa.Table) -> list[Json]:
    """Score rows and explain each in words.

    Returns:
        `score`, `p_value`, `severity`, `reasons` (the columns that contribute most),
        `ids` (cells of columns that are not modelled) and `cells` of each row.
    """
    return [_explain_row(density, rows.slice(k, 1)) for k in range(len(rows))]


def _explain_row(density: TableDensity, row: pa.Table) -> Json:
    scorer = Scorer(density, ScoreOptions(explain_columns=EXPLAINED_COLUMNS))
    (scored,) = scorer.score(row).to_pylist()
    cells = {name: python_values(row[name])[0] for name in row.column_names}
    return {
        "score": scored["anomaly_score"],
        "p_value": scored["p_value"],
        "severity": scored["severity"],
        "reasons": reasons(scored["explanation"]),
        "ids": {n: text(v) for n, v in cells.items() if is_id(n, density)},
        "cells": {n: text(v) for n, v in cells.items()},
    }


def is_id(name: str, density: TableDensity) -> bool:
    """Return whether a column only identifies rows: neither modelled nor left out."""
    left_out = {column.name for column in density.encoder.left_out}
    return name not in density.columns and name not in left_out


def reasons(explanation: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return the first entry of an explanation and those that raise the score."""
    return [
        dict(entry)
        for place, entry in enumerate(explanation)
        if place == 0 or entry["contribution"] > MIN_CONTRIBUTION
    ]
