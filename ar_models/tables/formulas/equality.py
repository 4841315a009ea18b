"""Copies of another column."""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from ar_models.tables import arrow
from ar_models.tables.formulas.formula import Cells, Formula
from ar_models.tables.formulas.numbers import NUMERIC, from_numbers, numbers


@dataclass(frozen=True)
class Equality(Formula):
    """The cell equals that of another column, nulls included.

    Attributes:
        column: Name of the other column.
    """

    column: str

    kind: ClassVar[str] = "equality"

    @property
    def null_is_value(self) -> bool:
        return True

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def invertible_columns(self) -> tuple[str, ...]:
        return (self.column,)

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        return _copy(cells[self.column], type)

    def solve(
        self, column: str, type: pa.DataType, cells: Cells, derived: pa.Array
    ) -> pa.Array:
        return _copy(derived, type)

    def describe(self) -> str:
        return self.column


def _copy(array: pa.Array, type: pa.DataType) -> pa.Array:
    """Convert cells to a plain type, null where it cannot hold them."""
    array, plain = arrow.flat(array), arrow.plain(type)
    if arrow.plain(array.type) == plain:
        return array.cast(plain)
    given, wanted = arrow.family(array.type), arrow.family(type)
    if given == wanted and given in ("text", "bytes"):
        return array.cast(plain)
    if given in NUMERIC and wanted in NUMERIC:
        return from_numbers(numbers(array), plain)
    return pa.nulls(len(array), plain)
