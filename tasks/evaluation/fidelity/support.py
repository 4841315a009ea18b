"""Synthetic cells that the training rows rule out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ar_models.tables.columns import (
    IN_SUPPORT,
    MISSING,
    OUT_OF_RANGE,
    UNSEEN,
    VIOLATION,
)
from tasks.evaluation.fidelity.tables import Tables

REASONS = {
    "missing": MISSING,
    "unseen": UNSEEN,
    "outside": OUT_OF_RANGE,
    "violation": VIOLATION,
}
"""Codes of the reasons why a cell is out of support, by their name in results."""

Json = dict[str, Any]  # JSON values


def compare_support(
    tables: Tables, columns: Sequence[str], out_of_support: NDArray[np.int8]
) -> Json:
    """Count synthetic cells that are out of support.

    A cell is out of support if it is null where no training row is, has a category that
    no training row has, a value outside of the column's type or grid, or breaks a
    constraint that all training rows satisfy.

    Args:
        tables: The compared tables.
        columns: Names of the modelled columns.
        out_of_support: Why each synthetic cell is out of support, (rows, columns).
    """
    wrong = {
        name: {
            reason: int((out_of_support[:, j] == code).sum())
            for reason, code in REASONS.items()
        }
        for j, name in enumerate(columns)
    }
    types = {
        name: str(tables.synthetic[name].type)
        for name in columns
        if tables.synthetic[name].type != tables.train[name].type
    }
    return {
        "wrong_rows": float(np.mean((out_of_support != IN_SUPPORT).any(axis=1))),
        "wrong_cells": {n: cells for n, cells in wrong.items() if any(cells.values())},
        "other_types": types,
    }
