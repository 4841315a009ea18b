"""Quotients and remainders of integer division, such as the hour of a time hhmm."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.formula import Cells, NullableFormula
from ar_models.tables.formulas.numbers import from_numbers, number_text, numbers


@dataclass(frozen=True)
class QuotientFormula(NullableFormula):
    """The quotient of a column and a constant, rounded down.

    Attributes:
        column: Name of the column.
        divisor: The positive constant.
    """

    column: str
    divisor: float

    kind: ClassVar[str] = "quotient"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        return from_numbers(np.floor(numbers(cells[self.column]) / self.divisor), type)

    def describe(self) -> str:
        return f"{self.column} // {number_text(self.divisor)}"


@dataclass(frozen=True)
class RemainderFormula(NullableFormula):
    """The remainder of the division of a column by a constant.

    Attributes:
        column: Name of the column.
        divisor: The positive constant.
    """

    column: str
    divisor: float

    kind: ClassVar[str] = "remainder"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        return from_numbers(np.mod(numbers(cells[self.column]), self.divisor), type)

    def describe(self) -> str:
        return f"{self.column} % {number_text(self.divisor)}"
