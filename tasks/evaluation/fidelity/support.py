"""Synthetic cells and combinations that the training rows rule out."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from ar_models.tables.columns import IN_SUPPORT, MISSING, OUT_OF_RANGE, UNSEEN
from tasks.evaluation.fidelity.codes import DISTINCT, Codes, encode_values
from tasks.evaluation.fidelity.tables import Tables

MIN_ROWS = 20
"""Minimum number of training rows with a value that determines another column's."""

Json = dict[str, Any]  # JSON values


def compare_support(
    tables: Tables,
    columns: Sequence[str],
    out_of_support: NDArray[np.int8],
    dependences: Sequence[Json],
) -> Json:
    """Count synthetic cells and combinations of cells that are out of support.

    A cell is out of support if it is null where no training row is, has a category that
    no training row has, or a value outside of the column's type or grid. A combination
    is, if it violates a functional dependence of the training rows.

    Args:
        tables: The compared tables.
        columns: Names of the modelled columns.
        out_of_support: Why each synthetic cell is out of support, (rows, columns).
        dependences: The result of `find_dependences`.
    """
    reasons = {"missing": MISSING, "unseen": UNSEEN, "outside": OUT_OF_RANGE}
    wrong = {
        name: {
            reason: int((out_of_support[:, j] == code).sum())
            for reason, code in reasons.items()
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
        "dependences": len(dependences),
        "broken_dependences": [d for d in dependences if d["synthetic"] > 0],
        "wrong_combinations": float(
            np.mean([d["synthetic"] for d in dependences]) if dependences else 0.0
        ),
    }


def find_dependences(tables: Tables) -> list[Json]:
    """Find functional dependences between columns of few distinct values.

    One column determines another if each of its frequent values goes with exactly one
    value of the other in all training rows.

    Returns:
        `column`, `determines`, and the shares of `held_out` and `synthetic` rows that
        violate the dependence.
    """
    codes: dict[str, list[Codes]] = {}
    for name in tables.train.column_names:
        reference = tables.train[name]
        if len(pc.unique(reference)) <= DISTINCT:
            codes[name] = [
                encode_values(reference, table[name])
                for table in (tables.train, tables.held_out, tables.synthetic)
            ]
    found = []
    for a, b in itertools.permutations(codes, 2):
        violations = _violations(codes[a], codes[b])
        if violations is not None:
            held_out, synthetic = violations
            found.append(
                {
                    "column": a,
                    "determines": b,
                    "held_out": held_out,
                    "synthetic": synthetic,
                }
            )
    return found


def _violations(
    column: Sequence[Codes], determined: Sequence[Codes]
) -> list[float] | None:
    """Return the shares of held-out and synthetic rows that violate a dependence.

    Args:
        column: Codes of a column in the training, held-out and synthetic rows.
        determined: Those of the column that it may determine.

    Returns:
        None if the column does not determine the other one.
    """
    counts = np.zeros((DISTINCT + 2, DISTINCT + 2), np.int64)
    np.add.at(counts, (column[0], determined[0]), 1)
    frequent = counts.sum(axis=1) >= MIN_ROWS
    unique = frequent & ((counts > 0).sum(axis=1) == 1)
    if not frequent.any() or (frequent & ~unique).any():
        return None
    answer = counts.argmax(axis=1)
    if len(set(answer[unique].tolist())) < 2:
        return None  # The other column hardly varies.
    return [
        float((unique[a] & (b != answer[a])).mean())
        for a, b in zip(column[1:], determined[1:], strict=True)
    ]
