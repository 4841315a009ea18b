"""Accuracy of the distributions of single columns and of pairs of columns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.evaluation.distances import shares, total_variation
from tasks.evaluation.fidelity.codes import BINS, Codes, encode_bins
from tasks.evaluation.fidelity.tables import Tables, column_pairs

WORST_PAIRS = 5
"""Number of pairs with the lowest accuracy that are reported."""

Json = dict[str, Any]  # JSON values


def compare_marginals(tables: Tables) -> Json:
    """Measure the univariate and bivariate accuracy of synthetic rows.

    The accuracy of training rows in place of synthetic ones is the ceiling.
    """
    columns, pairs = accuracies(tables.held_out, tables.synthetic)
    train_columns, train_pairs = accuracies(tables.held_out, tables.train)
    worst = sorted(pairs.items(), key=lambda item: item[1])[:WORST_PAIRS]
    return {
        "univariate": {
            "synthetic": float(np.mean(list(columns.values()))),
            "train": float(np.mean(list(train_columns.values()))),
            "columns": columns,
        },
        "bivariate": {
            "synthetic": _mean(pairs),
            "train": _mean(train_pairs),
            "worst": [
                {"columns": list(pair), "accuracy": value} for pair, value in worst
            ],
        },
    }


def accuracies(
    reference: pa.Table, other: pa.Table
) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """Compute 1 minus the total variation distance of columns and pairs of columns.

    Numbers are binned at the deciles of the reference; of categories the ten most
    frequent ones of the reference are distinguished. Null is a value of its own.

    Returns:
        The accuracy by column, and by pair of columns.
    """
    names = reference.column_names
    codes = {name: encode_bins(reference[name], other[name]) for name in names}
    width = BINS + 2
    by_pair = {}
    for a, b in column_pairs(names):
        left, right = (codes[a][k] * width + codes[b][k] for k in (0, 1))
        by_pair[a, b] = _accuracy(left, right, width**2)
    return {name: _accuracy(*codes[name], width) for name in names}, by_pair


def _accuracy(left: Codes, right: Codes, count: int) -> float:
    p, q = (shares(np.bincount(codes, minlength=count)) for codes in (left, right))
    return 1 - float(total_variation(p, q))


def _mean(accuracies: Mapping[tuple[str, str], float]) -> float:
    """Return the mean over pairs of columns, 1 if there is no pair."""
    return float(np.mean(list(accuracies.values()))) if accuracies else 1.0
