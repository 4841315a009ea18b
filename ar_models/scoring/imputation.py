"""Imputation of empty cells from the known cells of their rows."""

from typing import get_args

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from ar_models.families.base import AutoregressiveModel
from ar_models.scoring.choices import ImputationMethod
from ar_models.scoring.derived_cells import DerivedCells
from ar_models.scoring.empty_cells import EmptyCells
from ar_models.scoring.filled_cells import Filling, fill
from ar_models.scoring.solved_cells import solved_cells
from ar_models.tables.columns import IN_SUPPORT
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import TableEncoder

METHODS: tuple[ImputationMethod, ...] = get_args(ImputationMethod)


def require_order_agnostic(model: AutoregressiveModel) -> None:
    """Raise ValueError unless a model can condition on any columns."""
    if not model.order_agnostic:
        raise ValueError(
            f"a {type(model).__name__} conditions only on preceding columns, but "
            "imputation conditions on all known cells of a row; train with "
            "model.family eonade, or transformer with order_agnostic: true"
        )


@torch.inference_mode()
def impute(
    encoder: TableEncoder,
    model: AutoregressiveModel,
    table: pa.Table,
    method: ImputationMethod,
    noise: Tensor,
    *,
    confidence: float = 0.9,
    seed: int = 0,
) -> list[Filling]:
    """Impute the nulls in the modelled columns of a few rows.

    An empty cell is unknown: that it is empty carries no information. A cell with a
    value is known, unless the value is out of support. The method "draw" fills the
    cells of a row one after another, each drawn given the known cells and those filled
    before, and given that it is not missing. The others fill each cell by itself given
    the known cells: a category by its mode, a number by its median, or by its mean
    unless it has several digits, and a list one position after another. A derived cell
    gets the value of a constraint, drawn or the likeliest, from the known and filled
    cells of the row; a cell that follows from a derived one is computed from it.

    Args:
        encoder: Encoder of the rows.
        model: Model of their variables, order-agnostic.
        table: The rows.
        method: Value written into an empty cell.
        noise: Uniform numbers (at least as many as rows, dim, 2) for draws.
        confidence: Coverage of the central intervals of numbers.
        seed: Seed by which rare categories that share a code are drawn.
    """
    require_order_agnostic(model)
    solved, fillings = solved_cells(encoder, table)
    x, known = _known_variables(encoder, model, solved)
    nulls = _null_rows(encoder, model, solved)
    cells = {}
    for j, rows in nulls.items():
        at = torch.from_numpy(rows).to(x.device)
        cells[j] = _cell(encoder, model, j, x[at], known[at])
        if method == "draw":
            cells[j].take_parents(solved, rows)
            cells[j].draw(noise[: len(x)].to(x.device, x.dtype)[at])
            x[at], known[at] = cells[j].x, cells[j].known
    for j in filter(nulls.__contains__, encoder.order):
        rng = np.random.default_rng([seed, j])
        cells[j].take_parents(solved, nulls[j])
        if method == "draw":
            filling = cells[j].filling(nulls[j], rng)
        else:
            filling = cells[j].point(nulls[j], rng, method, confidence)
        fillings.append(filling.without_nulls())
        if encoder.names[j] in encoder.parents:
            solved = fill(solved, fillings[-1:])
    return fillings


def _null_rows(
    encoder: TableEncoder, model: AutoregressiveModel, table: pa.Table
) -> dict[int, NDArray[np.int64]]:
    """Return the rows with nulls of each column that has some, in the model's order."""
    order = [model.variables[i].column_index for i in model.ordering().tolist()]
    rows = {
        j: np.flatnonzero(table.column(encoder.names[j]).is_null().to_numpy())
        for j in dict.fromkeys(order)
    }
    return {j: found for j, found in rows.items() if len(found)}


def _known_variables(
    encoder: TableEncoder, model: AutoregressiveModel, table: pa.Table
) -> tuple[Tensor, Tensor]:
    """Return the variables of rows, NaN where unknown, and a mask of the known ones."""
    encoded = encoder.encode(table)
    undetermined = encoder.undetermined(encoded.x, table)
    columns = [variable.column_index for variable in model.variables]
    seen = (encoded.out_of_support == IN_SUPPORT) & ~undetermined
    # Otherwise a null that occurred in training would count as known.
    x = np.where(undetermined[:, columns], np.float32(np.nan), encoded.x)
    device = model.ordering_table.device
    return torch.from_numpy(x).to(device), torch.from_numpy(seen[:, columns]).to(device)


def _cell(
    encoder: TableEncoder, model: AutoregressiveModel, j: int, x: Tensor, known: Tensor
) -> EmptyCells | DerivedCells:
    """Return the empty cells of column `j` in some rows."""
    if isinstance(encoder.columns[j], DerivedColumn):
        return DerivedCells(encoder, model, j, x, known)
    return EmptyCells(encoder, model, j, x, known)
