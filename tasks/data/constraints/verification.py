"""Counts of the rows in which constraints hold, merged over fragments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.formula import Formula, matches
from ar_models.tables.inequality import Inequality, compared_cells
from ar_models.tables.trained_cells import as_trained


@dataclass(frozen=True)
class Tally:
    """In how many rows the formulas of a column hold.

    Attributes:
        rows: Number of rows.
        held: Number of rows in which each formula holds.
        first: Number of rows in which each formula is the first that holds.
        undefined: Number of rows in which each formula has no value, because a cell
            that it computes with is null or, in a lookup, new.
    """

    rows: int
    held: tuple[int, ...]
    first: tuple[int, ...]
    undefined: tuple[int, ...]

    def merge(self, other: "Tally") -> "Tally":
        """Return the counts in the rows of both."""
        return Tally(
            self.rows + other.rows,
            tuple(a + b for a, b in zip(self.held, other.held, strict=True)),
            tuple(a + b for a, b in zip(self.first, other.first, strict=True)),
            tuple(a + b for a, b in zip(self.undefined, other.undefined, strict=True)),
        )


def count_matches(
    table: pa.Table,
    schema: pa.Schema,
    formulas: Mapping[str, Sequence[Formula]],
) -> dict[str, Tally]:
    """Count the rows of a table in which formulas hold, for each derived column.

    Args:
        table: The rows.
        schema: Schema of the dataset, which formulas know the types of.
        formulas: The formulas of each derived column.
    """
    named = {
        name
        for column, tried in formulas.items()
        for name in (column, *(n for formula in tried for n in formula.columns))
    }
    cells = {
        name: as_trained(table.column(name), schema.field(name).type)[0]
        for name in named
    }
    tallies = {}
    for column, tried in formulas.items():
        type = schema.field(column).type
        free = np.ones(table.num_rows, bool)
        held, first, undefined = [], [], []
        for formula in tried:
            own = {name: cells[name] for name in formula.columns}
            values = formula.evaluate(own, type)
            found = matches(formula, values, cells[column])
            undefined.append(int((~found & formula.undefined(own, values)).sum()))
            held.append(int(found.sum()))
            first.append(int((found & free).sum()))
            free &= ~found
        tallies[column] = Tally(
            table.num_rows, tuple(held), tuple(first), tuple(undefined)
        )
    return tallies


def count_violations(
    table: pa.Table, schema: pa.Schema, inequalities: Sequence[Inequality]
) -> np.ndarray:
    """Count the rows of a table that inequalities compare, and that violate them.

    Args:
        table: The rows.
        schema: Schema of the dataset.
        inequalities: The inequalities.

    Returns:
        (inequalities, 2) int64: rows in which both sides are known, and violations.
    """
    cells = compared_cells(inequalities, table, schema)
    counts = [
        (int(each.known(cells).sum()), int(each.violated(cells).sum()))
        for each in inequalities
    ]
    return np.array(counts, np.int64).reshape(len(counts), 2)
