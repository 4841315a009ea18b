"""A table of two ordered columns, and densities that know the inequality."""

from typing import Any

import numpy as np
import pyarrow as pa

from ar_models.density.table_density import TableDensity
from ar_models.density.violation_weights import fit_violation_weights
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.inequality import Inequality
from tests.support.columns import fit_columns
from tests.support.constraints import SETTINGS
from tests.support.models import perturbed

ROWS = 2000

FAMILIES = sorted(SETTINGS)
"""Families of tables."""


def ordered_table(rows: int = ROWS, seed: int = 0, wrong: int = 20) -> pa.Table:
    """Return rows with low <= high but for `wrong` of them, and a category."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 6, rows)
    high = np.maximum(low, rng.integers(0, 6, rows))
    low[:wrong], high[:wrong] = 4, 2
    kind = rng.choice(["x", "y"], rows)
    order = rng.permutation(rows)
    return pa.table({"low": low[order], "kind": kind, "high": high[order]})


def ordered_encoder(table: pa.Table) -> TableEncoder:
    """Return the encoder of the table, with its inequality."""
    wrong = np.greater(table["low"], table["high"]).sum()
    known = Inequality("low", "<=", "high", rows=len(table), violations=int(wrong))
    return fit_columns(table).with_inequalities([known])


def ordered_density(family: str, wrong: int = 20, **settings: Any) -> TableDensity:
    """Return a density of random weights that violates the inequality as seldom."""
    encoder = ordered_encoder(ordered_table(wrong=wrong))
    more = SETTINGS[family] | settings
    model = perturbed(family, encoder.variables, 0.2, **more)
    return fit_violation_weights(TableDensity(encoder, model))
