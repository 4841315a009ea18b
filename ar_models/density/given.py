"""Given cells: what is known of rows before they are drawn."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ar_models.families.base import AutoregressiveModel
from ar_models.scoring.filled_cells import replace_cells
from ar_models.tables import arrow
from ar_models.tables.encoder import TableEncoder

Given: TypeAlias = Mapping[str, object] | pa.Table
"""Known cells of rows to draw: one value per column, or a table with a row for each."""


def given_table(
    encoder: TableEncoder, given: Given | None, missing: Collection[str], count: int
) -> tuple[pa.Table | None, Collection[str]]:
    """Return the given cells as a table, and the columns whose nulls mean missing.

    Args:
        encoder: Encoder of the rows.
        given: Values by column, or a table of `count` rows.
        missing: Columns of that table in which a null says that the value is missing.
        count: Number of rows.

    Raises:
        ValueError: A column is not modelled, a value has the wrong type, or the table
            has another number of rows.
    """
    if given is None or (isinstance(given, Mapping) and not given):
        return None, ()
    if isinstance(given, pa.Table):
        if given.num_rows != count:
            raise ValueError(
                f"{given.num_rows} rows are given for {count} to draw; give one row "
                "for each"
            )
        check_modelled(encoder, missing)
        return given, missing
    check_modelled(encoder, given)
    arrays = {
        name: _one_cell(name, value, encoder.type_of(encoder.names.index(name)))
        for name, value in given.items()
    }
    one = pa.table(arrays)
    null_columns = [name for name, value in given.items() if value is None]
    return one.take(pa.array(np.zeros(count, np.int64))), null_columns


def check_modelled(encoder: TableEncoder, columns: Iterable[str]) -> None:
    """Raise ValueError if one of the columns is not modelled."""
    for name in columns:
        if name in encoder.names:
            continue
        reasons = {left.name: left.reason for left in encoder.left_out}
        why = f"is left out ({reasons[name]})" if name in reasons else "is unknown"
        raise ValueError(
            f"column {name!r} {why}, so it cannot be given; modelled are "
            f"{', '.join(encoder.names)}"
        )


def _one_cell(name: str, value: object, type: pa.DataType) -> pa.Array:
    """Return an array of one cell from a Python value."""
    try:
        return pa.array([value], type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise ValueError(
            f"column {name!r} holds {type}, got {value!r}: {error}"
        ) from error


def rows_in_order(
    model: AutoregressiveModel,
    columns: Sequence[str],
    known: Mapping[str, NDArray[np.bool_]],
) -> NDArray[np.bool_]:
    """Return the rows that a model completes in one pass, (n,).

    Those are the rows whose given columns come first in one of its orderings; with an
    order-agnostic model, all.

    Args:
        model: The model.
        columns: Names of the modelled columns.
        known: For each given column, the rows in which it is given, (n,).

    Raises:
        ValueError: Cells are given, and the model cannot condition on any.
    """
    rows = np.stack([known[name] for name in known], axis=1)
    if model.order_agnostic or not rows.any():
        return np.ones(len(rows), bool)
    if model.is_bound:
        listed = ", ".join(name for name in columns if name in known)
        raise ValueError(
            f"given are {listed}, but a {type(model).__name__} cannot condition on any "
            "column; train with another model.family, such as made"
        )
    orders = column_orderings(model, columns)
    patterns, which = np.unique(rows, axis=0, return_inverse=True)
    fits = np.zeros(len(patterns), bool)
    for k, pattern in enumerate(patterns):
        names = {name for name, fixed in zip(known, pattern, strict=True) if fixed}
        fits[k] = any(set(order[: len(names)]) == names for order in orders)
    return np.asarray(fits[which.ravel()])


def column_orderings(
    model: AutoregressiveModel, columns: Sequence[str]
) -> list[list[str]]:
    """Return the names of the columns in each ordering of a model."""
    return [
        list(dict.fromkeys(columns[model.variables[i].column_index] for i in order))
        for order in model.ordering_table.tolist()
    ]


def restore_given(drawn: pa.Table, given: pa.Table) -> pa.Table:
    """Write given cells into drawn rows, and append the other given columns."""
    for name, array in zip(given.column_names, given.columns, strict=True):
        if name not in drawn.column_names:
            drawn = drawn.append_column(given.schema.field(name), array)
            continue
        type = arrow.plain(drawn.schema.field(name).type)
        own = arrow.flat(array).cast(type)
        rows = np.flatnonzero(own.is_valid().to_numpy(zero_copy_only=False))
        drawn = replace_cells(drawn, name, rows, own.drop_null())
    return drawn
