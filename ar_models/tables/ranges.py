"""Ranges that the numbers, dates and times of sampled rows stay in."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.columns import Column
from ar_models.tables.derived_column import DerivedColumn
from ar_models.tables.encoder import TableEncoder
from ar_models.tables.list_cells import assemble, element_types, lists
from ar_models.tables.list_column import ListColumn


def rare_atoms(encoder: TableEncoder, least: int) -> dict[str, np.ndarray]:
    """Return the values by column that are atoms of fewer than `least` training rows.

    Such as the one date that lies far before all others.
    """
    found = {}
    for column in encoder.columns:
        plain = column.plain
        atoms, states = (getattr(plain, name, ()) for name in ("atoms", "states"))
        shares = np.asarray(plain.variables[0].frequencies if atoms else ())
        if not atoms or len(shares) != len(states) + len(atoms):
            continue
        # The shares were smoothed by half a row for each code.
        counts = np.rint(shares * (plain.rows + len(shares) / 2) - 0.5)
        rare = np.array(atoms)[counts[len(states) :] < least]
        if len(rare):
            found[column.name] = rare
    return found


def rows_with(
    values: Mapping[str, np.ndarray],
    encoder: TableEncoder,
    table: pa.Table,
    given: pa.Table | None = None,
) -> np.ndarray:
    """Return the rows with one of some values in a cell that is not given, (n,) bool.

    Args:
        values: Numbers by column, in units of its type.
        encoder: Knows the types of the columns.
        table: The rows, as the encoder decodes them.
        given: Known cells of the first rows.
    """
    found = np.zeros(len(table), bool)
    for name, some in values.items():
        type = encoder.type_of(encoder.names.index(name))
        cells, regular = numbers(arrow.flat(table.column(name)), type)
        held = regular & np.isin(cells, some)
        if given is not None and name in given.column_names:
            known = given.column(name).is_valid().to_numpy()
            held[: len(known)] &= ~known
        found |= held
    return found


def rows_outside(
    encoder: TableEncoder, table: pa.Table, given: pa.Table | None = None
) -> np.ndarray:
    """Return the rows with a cell outside the range of its column, (n,) bool.

    Args:
        encoder: Knows the ranges of its columns.
        table: The rows, as the encoder decodes them.
        given: Known cells of the first rows, which are as they are.
    """
    found = np.zeros(len(table), bool)
    for j, column in enumerate(encoder.columns):
        if not _has_range(column.plain):
            continue
        array = arrow.flat(table.column(column.name))
        outside = cells_outside(column.plain, array, encoder.type_of(j))
        if given is not None and column.name in given.column_names:
            known = given.column(column.name).is_valid().to_numpy()
            outside[: len(known)] &= ~known
        found |= outside
    return found


def cells_outside(column: Column, array: pa.Array, type: pa.DataType) -> np.ndarray:
    """Return the cells outside the range of their column, (n,) bool.

    Args:
        column: A column that is not derived.
        array: Its cells.
        type: Arrow type of the column.
    """
    if isinstance(column, ListColumn):
        return _lists_outside(column, array, type)
    if column.range is None:
        return np.zeros(len(array), bool)
    values, regular = numbers(array, type)
    low, high = column.range
    outside = regular & ((values < low) | (values > high))
    atoms = getattr(column, "atoms", ())
    if atoms and outside.any():
        outside &= ~np.isin(values, np.array(atoms, values.dtype))
    return outside


def within_range(column: Column, array: pa.Array, type: pa.DataType) -> pa.Array:
    """Replace the cells outside the range of their column by the nearest end of it.

    Args:
        column: The column; cells of derived ones follow from others and stay.
        array: Its cells.
        type: Arrow type of the column.
    """
    if isinstance(column, DerivedColumn) or not _has_range(column):
        return array
    outside = cells_outside(column, array, type)
    if not outside.any():
        return array
    if isinstance(column, ListColumn):
        return _lists_within(column, array, type)
    assert column.range is not None
    values, _ = numbers(array, type)
    inside = np.clip(values[outside], *column.range)
    plain = arrow.plain(type)
    if arrow.family(type) == "real":
        new = arrow.from_reals(inside, None, plain)
    else:
        new = arrow.from_integers(inside, None, plain)
    old = arrow.flat(array)
    places = np.arange(len(old))
    places[outside] = len(old) + np.arange(len(new))
    both = pa.concat_arrays([old.cast(plain), new])
    return arrow.as_type(both.take(pa.array(places)), type)


def _has_range(column: Column) -> bool:
    """Return whether the cells of a column, or their elements, have a range."""
    if isinstance(column, ListColumn):
        return any(_has_range(element) for element in column.elements)
    return column.range is not None


def numbers(array: pa.Array, type: pa.DataType) -> tuple[np.ndarray, np.ndarray]:
    """Return cells as numbers in units of the type, and which are regular, (n,) each.

    Nulls, NaN and infinities are not regular.
    """
    if arrow.family(type) == "real":
        cells = arrow.reals(array)
        regular = np.isfinite(cells.values)
    else:
        cells = arrow.integers(array, type)
        regular = np.ones(len(array), bool)
        if cells.off is not None:
            regular &= ~cells.off
    if cells.missing is not None:
        regular &= ~cells.missing
    return cells.values, regular


def _lists_outside(
    column: ListColumn, array: pa.Array, type: pa.DataType
) -> np.ndarray:
    """Return the lists with an element outside its range, (n,) bool."""
    given, types = lists(array), element_types(type)
    assert types is not None
    found = np.zeros(len(array), bool)
    for element, (name, of) in zip(column.elements, types.items(), strict=True):
        if name in given.fields:
            outside = cells_outside(element, arrow.flat(given.fields[name]), of)
            found[given.rows[outside]] = True
    return found


def _lists_within(column: ListColumn, array: pa.Array, type: pa.DataType) -> pa.Array:
    """Replace the elements of lists outside their ranges by the nearest ends."""
    given, types = lists(array), element_types(type)
    assert types is not None
    elements = {
        name: within_range(element, given.fields[name], of)
        for element, (name, of) in zip(column.elements, types.items(), strict=True)
    }
    null = np.zeros(len(array), bool) if given.missing is None else given.missing
    return assemble(elements, given.lengths, null, type)
