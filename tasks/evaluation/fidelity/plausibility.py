"""Whether synthetic rows keep the rules that real rows keep."""

from dataclasses import asdict
from typing import Any

import numpy as np

from tasks.evaluation.fidelity.columns import check_column
from tasks.evaluation.fidelity.findings import StackedRows
from tasks.evaluation.fidelity.relations import check_relations
from tasks.evaluation.fidelity.tables import Tables, take_random

MAX_CELLS = 5_000_000
"""Maximum number of cells of each table that are compared; fewer rows of wide ones."""

MAX_FINDINGS = 50
"""Maximum number of findings that are listed, those with the largest shares first."""

Json = dict[str, Any]  # JSON values


def compare_plausibility(tables: Tables) -> Json:
    """Find the rules of real rows that synthetic rows violate.

    Rules are learned from the training rows. One is listed if clearly more synthetic
    than held-out rows violate it, so that real rows in place of synthetic ones are
    without findings.

    Returns:
        `rows` and `combinations` (shares of `synthetic` and of `held_out`
        rows that violate any listed rule, and any listed rule of pairs of columns),
        `cells` (share of the synthetic rows that violate a rule of a single
        column, by column), `total` (number of findings), and `findings`, by the
        difference of the shares.
    """
    size = MAX_CELLS // max(tables.train.num_columns, 1)
    rng = np.random.default_rng(0)
    parts = (tables.train, tables.held_out, tables.synthetic)
    rows = StackedRows.stack(Tables(*(take_random(part, size, rng) for part in parts)))
    anywhere, pairs = np.zeros((2, len(rows.table)), bool)
    cells: dict[str, float] = {}
    findings = []
    for name in rows.table.column_names:
        own = np.zeros(len(rows.table), bool)
        for finding, wrong in check_column(rows, name):
            findings.append(finding)
            own |= wrong
        if own.any():
            cells[name] = float(own[rows.synthetic].mean())
        anywhere |= own
    for finding, wrong in check_relations(rows):
        findings.append(finding)
        pairs |= wrong
    anywhere |= pairs
    findings.sort(key=lambda finding: finding.held_out - finding.synthetic)
    result: Json = {
        name: {
            "synthetic": float(mask[rows.synthetic].mean()),
            "held_out": float(mask[rows.held_out].mean()),
        }
        for name, mask in (("rows", anywhere), ("combinations", pairs))
    }
    return {
        **result,
        "cells": cells,
        "total": len(findings),
        "findings": [asdict(finding) for finding in findings[:MAX_FINDINGS]],
    }
