"""Encoding of rows of which only some cells are known."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.code_column import CodeColumn
from ar_models.tables.columns import IN_SUPPORT, MISSING, Coded
from ar_models.tables.derivations import known_cells, solve_parents
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import TableEncoder


def solve_given(
    encoder: TableEncoder, table: pa.Table, missing: Collection[str] = ()
) -> pa.Table:
    """Fill unknown cells of given rows that follow from given derived cells.

    Args:
        encoder: Encoder of the rows.
        table: As for `encode_given`.
        missing: Columns in which a null says that the value is missing.
    """
    columns = [encoder.columns[j] for j in encoder.order]
    return solve_parents(columns, table, encoder.schema, missing)


def encode_given(
    encoder: TableEncoder,
    table: pa.Table,
    missing: Collection[str] = (),
    *,
    first: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the variables that given cells fix, and the cells that fix none yet.

    Args:
        encoder: Encoder of the rows.
        table: Some of the modelled columns, and perhaps others. A null leaves its
            cell free.
        missing: Columns in which a null says that the value is missing.
        first: Number of the first row, for messages.

    Returns:
        Variables (n, dim), NaN where free; and which cells are given, but have an
        encoding that depends on cells that are not, (n, columns) bool.

    Raises:
        ValueError: A column's type cannot be read as the trained one, or a cell holds
            what never occurred in training.
    """
    x = np.full((table.num_rows, encoder.dim), np.nan, np.float32)
    late = np.zeros((table.num_rows, len(encoder.columns)), bool)
    for j, column in enumerate(encoder.columns):
        if column.name not in table.schema.names:
            continue
        encoder.check_column(table.schema, j)
        fixed = known_cells(table, column.name, missing)
        coded, undetermined = _coded(encoder, j, table, missing)
        late[:, j] = fixed & undetermined
        fixed &= ~undetermined
        _refuse_unknown(encoder, j, table.column(column.name), coded, fixed, first)
        x[fixed, encoder.span(j)] = coded.x[fixed]
    return x, late


def check_determined(
    encoder: TableEncoder,
    table: pa.Table,
    late: np.ndarray,
    missing: Collection[str] = (),
) -> None:
    """Raise ValueError if the encoding of a given cell depends on cells that are not.

    Args:
        encoder: Encoder of the rows.
        table: As for `encode_given`.
        late: Which cells are such ones, as `encode_given` returns them.
        missing: Columns in which a null says that the value is missing.
    """
    for j in np.flatnonzero(late.any(0)).tolist():
        column, row = encoder.columns[j], int(np.flatnonzero(late[:, j])[0])
        assert isinstance(column, DerivedColumn)
        lacking = [
            name
            for name in column.parents
            if not known_cells(table, name, missing)[row]
        ]
        raise ValueError(
            f"column {column.name!r} is given and computed from "
            f"{', '.join(column.parents)} ({column.formulas[0].describe()}); give "
            f"{', '.join(lacking)} too, or strike the constraint under "
            "data.constraints and train again"
        )


def _coded(
    encoder: TableEncoder, j: int, table: pa.Table, missing: Collection[str]
) -> tuple[Coded, np.ndarray]:
    """Encode column `j`; return also where that depends on unknown cells, (n,) bool."""
    column = encoder.columns[j]
    if not isinstance(column, DerivedColumn):
        return encoder.encode_column(j, table), np.zeros(table.num_rows, bool)
    known = {name: known_cells(table, name, missing) for name in column.parents}
    for name in column.parents:
        if name not in table.schema.names:
            type = encoder.schema.field(name).type
            table = table.append_column(name, pa.nulls(table.num_rows, type))
    coded = encoder.encode_column(j, table)
    numbers = column.numbers(coded.x[:, 0])
    return coded, ~column.is_determined(numbers, known)


def _refuse_unknown(
    encoder: TableEncoder,
    j: int,
    array: pa.ChunkedArray,
    coded: Coded,
    fixed: np.ndarray,
    first: int,
) -> None:
    """Raise ValueError where a fixed cell of column `j` is new to the model."""
    column = encoder.columns[j]
    new = fixed & (coded.out_of_support != IN_SUPPORT)
    if isinstance(column.plain, CodeColumn):
        new |= fixed & column.plain.unknown(array, encoder.type_of(j))
    if not new.any():
        return
    row = int(np.flatnonzero(new)[0])
    value = arrow.python_values(array.slice(row, 1))[0]
    what = "a missing value" if coded.out_of_support[row] == MISSING else repr(value)
    known = encoder.labels(j)
    some = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
    need = f"one of {some}" if known else f"a {column.type} in range"
    if isinstance(column, DerivedColumn) and not column.has_exceptions:
        need = " or ".join(formula.describe() for formula in column.formulas)
    raise ValueError(
        f"column {column.name!r}, row {first + row}: {what} is given, which never "
        f"occurred in training, so nothing is known of rows with it; give {need}, "
        "or leave the cell null"
    )
