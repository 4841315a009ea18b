"""Functional dependencies: tables from the values of one or two columns to values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.formula import Cells, Formula
from ar_models.tables.formulas.keys import Key, from_keys, places
from ar_models.tables.lookup import lookup

MAX_ENTRIES = 10_000
"""Maximum number of entries of a table."""


@dataclass(frozen=True)
class LookupFormula(Formula):
    """A functional dependency, given by the table of its values.

    Attributes:
        determinants: The columns that determine the derived one.
        keys: Keys of their cells (see `keys`), one tuple per entry, without
            repetitions.
        values: Key of the derived cell of each entry.
    """

    determinants: tuple[str, ...]
    keys: tuple[tuple[Key, ...], ...]
    values: tuple[Key, ...]

    kind: ClassVar[str] = "lookup"

    @property
    def null_is_value(self) -> bool:
        return True

    def __post_init__(self) -> None:
        if not 0 < len(self.keys) == len(self.values) <= MAX_ENTRIES:
            raise ValueError(
                f"a table of {', '.join(self.columns)} needs 1 to {MAX_ENTRIES} keys "
                f"and as many values, got {len(self.keys)} and {len(self.values)}"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        return self.determinants

    @property
    def undefined_reason(self) -> str:
        values = "this value" if len(self.determinants) == 1 else "both values"
        return f"no training row has {values}"

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        at = self._entries(cells)
        values = from_keys(self.values, type)
        return values.take(pa.array(at, mask=at < 0))

    def undefined(self, cells: Cells, values: pa.Array) -> np.ndarray:
        unknown: np.ndarray = self._entries(cells) < 0
        return unknown

    def _entries(self, cells: Cells) -> np.ndarray:
        """Return the number of the entry of each row, (n,); -1 if there is none."""
        rows = np.zeros(len(self.keys), np.int64)
        codes = np.zeros(len(cells[self.columns[0]]), np.int64)
        unknown = np.zeros(len(codes), bool)
        for place, name in enumerate(self.columns):
            column = [key[place] for key in self.keys]
            known = list(dict.fromkeys(column))
            number = {key: i for i, key in enumerate(known)}
            found = places(cells[name], known)
            unknown |= found < 0
            rows = rows * len(known) + np.array([number[key] for key in column])
            codes = codes * len(known) + found
        return lookup(rows, np.where(unknown, -1, codes))

    def describe(self) -> str:
        return f"function of {' and '.join(self.columns)}"


def lookup_formula(
    columns: Sequence[str], keys: Sequence[Sequence[Key]], values: Sequence[Key]
) -> LookupFormula:
    """Return the formula of a table that is given column by column.

    Args:
        columns: The determinants.
        keys: Keys of their cells, one sequence of all entries for each column.
        values: Keys of the derived cells.
    """
    return LookupFormula(tuple(columns), tuple(zip(*keys, strict=True)), tuple(values))
