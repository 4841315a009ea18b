"""Unknown cells that follow from derived ones, filled before all others."""

import numpy as np
import pyarrow as pa

from ar_models.scoring.filled_cells import Filling
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.given_cells import solve_given
from ar_models.tables.trained_cells import as_trained


def solved_cells(
    encoder: TableEncoder, table: pa.Table
) -> tuple[pa.Table, list[Filling]]:
    """Fill the nulls that follow from derived cells; return also what was filled."""
    solved = solve_given(encoder, table)
    if solved is table:
        return table, []
    fillings = []
    for j, name in enumerate(encoder.names):
        filled = table.column(name).is_null().to_numpy()
        rows = np.flatnonzero(filled & solved.column(name).is_valid().to_numpy())
        if len(rows):
            cells, _ = as_trained(solved.column(name), encoder.type_of(j))
            values = cells.take(pa.array(rows))
            certain = np.ones(len(rows))
            fillings.append(Filling(name, rows, values, certain, values, values))
    return solved, fillings
