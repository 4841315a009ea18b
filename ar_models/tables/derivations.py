"""Derived columns among the others: their order, and the cells that they depend on."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.columns import Column
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.trained_cells import as_trained

MIN_SOLVED_RATE = 0.99
"""Minimum share of training rows in which a constraint holds that is solved for a
missing cell."""


def derivation_order(columns: Sequence[Column]) -> tuple[int, ...]:
    """Return the indices of the columns, parents before what is derived from them.

    Raises:
        ValueError: A formula computes with a column that is not modelled, or columns
            determine each other.
    """
    names = [column.name for column in columns]
    parents = {}
    for column in columns:
        own = column.parents if isinstance(column, DerivedColumn) else ()
        parents[column.name] = own
        for name in own:
            if name not in names:
                raise ValueError(
                    f"column {column.name!r} is computed from {name!r}, which is not "
                    f"modelled; modelled are {', '.join(names)}"
                )
    order: list[str] = []
    while len(order) < len(names):
        ready = [
            name
            for name in names
            if name not in order and all(p in order for p in parents[name])
        ]
        if not ready:
            rest = ", ".join(name for name in names if name not in order)
            raise ValueError(
                f"the columns {rest} are computed from each other; strike one of their "
                "constraints"
            )
        order += ready
    return tuple(names.index(name) for name in order)


def parent_cells(
    column: DerivedColumn, table: pa.Table, schema: pa.Schema
) -> dict[str, pa.Array]:
    """Return the cells of a column's parents, of their types in training.

    Args:
        column: The column.
        table: The rows.
        schema: Schema of the training table.
    """
    return {
        name: as_trained(table.column(name), schema.field(name).type)[0]
        for name in column.parents
    }


def known_cells(
    table: pa.Table, name: str, missing: Collection[str] = ()
) -> np.ndarray:
    """Return which cells of a column are known, (n,) bool.

    Args:
        table: The rows; of a column that it lacks, no cell is known.
        name: Name of the column.
        missing: Columns in which a null says that the value is missing.
    """
    if name not in table.schema.names:
        return np.zeros(table.num_rows, bool)
    if name in missing:
        return np.ones(table.num_rows, bool)
    return np.asarray(table.column(name).is_valid())


def solve_parents(
    columns: Sequence[Column],
    table: pa.Table,
    schema: pa.Schema,
    missing: Collection[str] = (),
) -> pa.Table:
    """Fill unknown cells that a known derived cell and its other parents determine.

    A constraint is solved if it is the first of its column, holds in at least
    `MIN_SOLVED_RATE` of the training rows and has one unknown parent in a row.

    Args:
        columns: The modelled columns, parents before the columns that they determine.
        table: Some of these columns, and perhaps others.
        schema: Schema of the training table.
        missing: Columns in which a null says that the value is missing.
    """
    derived = [c for c in columns if isinstance(c, DerivedColumn)]
    while True:  # as a solved cell may be the last unknown one of another constraint
        before = table
        for column in reversed(derived):
            if column.name in table.schema.names and column.rate(0) >= MIN_SOLVED_RATE:
                table = _solve_column(column, table, schema, missing)
        if table is before:
            return table


def _solve_column(
    column: DerivedColumn, table: pa.Table, schema: pa.Schema, missing: Collection[str]
) -> pa.Table:
    """Fill unknown cells by the first formula of a column; else return the table."""
    formula = column.formulas[0]
    known = {name: known_cells(table, name, missing) for name in formula.columns}
    unknown = np.sum([~cells for cells in known.values()], axis=0)
    own = known_cells(table, column.name) & (unknown == 1)
    for parent in formula.invertible_columns:
        rows = np.flatnonzero(own & ~known[parent])
        if len(rows):
            table = _solve(column, parent, table, rows, schema)
    return table


def _solve(
    column: DerivedColumn,
    parent: str,
    table: pa.Table,
    rows: np.ndarray,
    schema: pa.Schema,
) -> pa.Table:
    """Fill some cells of a parent by the first formula of a column, where it can be."""
    at, type = pa.array(rows), schema.field(parent).type
    formula = column.formulas[0]
    cells = {
        name: as_trained(table.column(name).take(at), schema.field(name).type)[0]
        for name in formula.columns
        if name != parent
    }
    derived, _ = as_trained(
        table.column(column.name).take(at), schema.field(column.name).type
    )
    found = formula.solve(parent, type, cells, derived)
    if found.null_count == len(found):
        return table
    spread = np.full(table.num_rows, -1)
    spread[rows] = np.arange(len(rows))
    whole = found.take(pa.array(spread, mask=spread < 0))
    return with_cells(table, pa.field(parent, type), whole)


def with_cells(table: pa.Table, field: pa.Field, cells: pa.Array) -> pa.Table:
    """Fill the nulls of a column with cells, or append the column to the table."""
    if field.name not in table.schema.names:
        return table.append_column(field, arrow.as_type(cells, field.type))
    place = table.schema.get_field_index(field.name)
    own, _ = as_trained(table.column(place), field.type)
    filled = overlay(own, cells)
    return table.set_column(place, field, arrow.as_type(filled, field.type))


def overlay(first: pa.Array, second: pa.Array) -> pa.Array:
    """Return the cells of `first` and, where these are null, those of `second`."""
    plain = arrow.plain(first.type)
    return pc.coalesce(first.cast(plain), arrow.flat(second).cast(plain))
