"""Imputed cells, and tables into which they are written."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ar_models.tables import arrow

IMPUTED = pa.list_(
    pa.struct(
        [
            ("column", pa.string()),
            ("probability", pa.float64()),
            ("low", pa.string()),
            ("high", pa.string()),
        ]
    )
)
"""Type of the details about the filled cells of a row."""


@dataclass(frozen=True)
class Filling:
    """Values imputed for the empty cells of a column.

    Attributes:
        column: Name of the column.
        rows: Numbers of the filled rows, ascending.
        values: Imputed values, in the type of training.
        probability: Probability of each value, given the known cells of its row and
            that it is not missing; of a real number that is not an atom, a density per
            unit; of a rare category, that of all rare ones together. NaN if unknown.
        low: Lower ends of the intervals; None for draws and for categories.
        high: Upper ends of the intervals.
    """

    column: str
    rows: NDArray[np.int64]
    values: pa.Array
    probability: NDArray[np.float64]
    low: pa.Array | None = None
    high: pa.Array | None = None

    def replace(self, other: "Filling") -> "Filling":
        """Return the filling with the rows of another one, a part of these, replaced.

        Args:
            other: Values and intervals of some of the rows.
        """
        place = np.arange(len(self.rows))
        at = np.searchsorted(self.rows, other.rows)
        place[at] = len(self.rows) + np.arange(len(other.rows))
        return Filling(
            self.column,
            self.rows,
            _joined(self.values, other.values, place),
            np.concatenate([self.probability, other.probability])[place],
            _joined(self.low, other.low, place),
            _joined(self.high, other.high, place),
        )

    def without_nulls(self) -> "Filling":
        """Return the filling without the rows for which there is no value."""
        if not self.values.null_count:
            return self
        return self.keep(self.values.is_valid().to_numpy(zero_copy_only=False))

    def keep(self, which: NDArray[np.bool_]) -> "Filling":
        """Return the filling of some of its rows.

        Args:
            which: Whether each row is kept, (rows,).
        """
        kept = np.flatnonzero(which)
        at = pa.array(kept)
        return Filling(
            self.column,
            self.rows[kept],
            self.values.take(at),
            self.probability[kept],
            None if self.low is None else self.low.take(at),
            None if self.high is None else self.high.take(at),
        )


def _joined(
    first: pa.Array | None, second: pa.Array | None, place: NDArray[np.int64]
) -> pa.Array | None:
    """Concatenate two arrays and take entries of the result; None if both are None."""
    return None if second is None else _chunks([first, second], place)


def concatenated(fillings: Sequence[Filling]) -> Filling:
    """Return fillings of one column as one, with its rows in ascending order.

    Args:
        fillings: Fillings with different rows, all or none with intervals.
    """
    order = np.argsort(np.concatenate([filling.rows for filling in fillings]))
    values, low, high = (
        _chunks([getattr(filling, name) for filling in fillings], order)
        for name in ("values", "low", "high")
    )
    assert values is not None
    return Filling(
        fillings[0].column,
        np.concatenate([filling.rows for filling in fillings])[order],
        values,
        np.concatenate([filling.probability for filling in fillings])[order],
        low,
        high,
    )


def _chunks(
    arrays: Sequence[pa.Array | None], order: NDArray[np.int64]
) -> pa.Array | None:
    """Concatenate arrays and take entries of the result; None if the arrays are."""
    first = arrays[0]
    if first is None:
        return None
    plain = arrow.plain(first.type)
    whole = pa.concat_arrays([arrow.flat(array).cast(plain) for array in arrays])
    return arrow.as_type(whole.take(pa.array(order)), first.type)


def fill(table: pa.Table, fillings: Sequence[Filling]) -> pa.Table:
    """Write imputed values into a table, and leave all other cells unchanged.

    Raises:
        ValueError: A column's type cannot hold a value.
    """
    for filling in fillings:
        try:
            table = replace_cells(table, filling.column, filling.rows, filling.values)
        except pa.ArrowInvalid as error:
            type = table.schema.field(filling.column).type
            raise ValueError(
                f"column {filling.column!r} is {type}, which cannot hold a value that "
                f"was learned as {filling.values.type}: {error}; cast it first"
            ) from error
    return table


def replace_cells(
    table: pa.Table, column: str, rows: NDArray[np.int64], values: pa.Array
) -> pa.Table:
    """Replace cells of a column, which may be nested.

    Args:
        table: The table.
        column: Name of the column.
        rows: Numbers of the rows, (n,).
        values: New values (n,), cast to the type of the column.
    """
    place = table.column_names.index(column)
    field = table.schema.field(place)
    # Decode both: their dictionaries may differ.
    inner = arrow.plain(field.type)
    old, new = (
        arrow.as_type(_decoded(arrow.flat(a)), inner)
        for a in (table.column(place), values)
    )
    sources = np.arange(len(old))
    sources[rows] = len(old) + np.arange(len(new))
    whole = pa.concat_arrays([old, new]).take(pa.array(sources))
    return table.set_column(place, field, arrow.as_type(whole, field.type))


def _decoded(array: pa.Array) -> pa.Array:
    """Return an array without a dictionary."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def mean(each: Sequence[pa.Array], type: pa.DataType) -> pa.Array | None:
    """Return the mean of integers or reals, rounded to their type; None for others.

    Args:
        each: Arrays (n,) of quantiles.
        type: Type of the arrays.
    """
    if arrow.family(type) not in ("integer", "real"):
        return None
    values = np.stack([arrow.reals(array).values for array in each])
    found = np.ma.masked_invalid(values).mean(axis=0).filled(np.nan)
    return arrow.from_reals(found, None, type)


def details(fillings: Sequence[Filling], rows: int) -> pa.Array:
    """Return the details about the filled cells of each row, (rows,)."""
    entries: list[list[dict[str, object]]] = [[] for _ in range(rows)]
    for filling in fillings:
        ends = (
            map(arrow.scalar_text, end or [pa.scalar(None)] * len(filling.rows))
            for end in (filling.low, filling.high)
        )
        probabilities = [
            None if np.isnan(p) else p for p in filling.probability.tolist()
        ]
        for row, *cell in zip(filling.rows, probabilities, *ends, strict=True):
            names = ("probability", "low", "high")
            entries[row].append(
                {"column": filling.column, **dict(zip(names, cell, strict=True))}
            )
    return pa.array(entries, IMPUTED)
