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
) -> np.ndarray:
    """Return the variables that given cells fix, (n, dim); NaN where free.

    Args:
        encoder: Encoder of the rows.
        table: Some of the modelled columns, and perhaps others. A null leaves its
            cell free.
        missing: Columns in which a null says that the value is missing.
        first: Number of the first row, for messages.

    Raises:
        ValueError: A column's type cannot be read as the trained one, a cell holds
            what never occurred in training, or the encoding of a derived cell depends
            on cells that are not given.
    """
    x = np.full((table.num_rows, encoder.dim), np.nan, np.float32)
    for j, column in enumerate(encoder.columns):
        if column.name not in table.schema.names:
            continue
        encoder.check_column(table.schema, j)
        fixed = known_cells(table, column.name, missing)
        coded = _coded(encoder, j, table, missing, fixed)
        _refuse_unknown(encoder, j, table.column(column.name), coded, fixed, first)
        x[fixed, encoder.span(j)] = coded.x[fixed]
    return x


def _coded(
    encoder: TableEncoder,
    j: int,
    table: pa.Table,
    missing: Collection[str],
    fixed: np.ndarray,
) -> Coded:
    """Encode column `j` of given rows, of which the cells `fixed` are known.

    Raises:
        ValueError: Its encoding depends on cells that are not given.
    """
    column = encoder.columns[j]
    if not isinstance(column, DerivedColumn):
        return encoder.encode_column(j, table)
    known = {name: known_cells(table, name, missing) for name in column.parents}
    for name in column.parents:
        if name not in table.schema.names:
            type = encoder.schema.field(name).type
            table = table.append_column(name, pa.nulls(table.num_rows, type))
    coded = encoder.encode_column(j, table)
    numbers = column.numbers(coded.x[:, 0])
    undetermined = np.flatnonzero(fixed & ~column.is_determined(numbers, known))
    if len(undetermined):
        row = undetermined[0]
        lacking = [name for name in column.parents if not known[name][row]]
        raise ValueError(
            f"column {column.name!r} is given and computed from "
            f"{', '.join(column.parents)} ({column.formulas[0].describe()}); give "
            f"{', '.join(lacking)} too, or strike the constraint under "
            "data.constraints and train again"
        )
    return coded


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
