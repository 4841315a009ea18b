"""Prefixes of texts, such as the grade of a sub-grade."""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.formulas.formula import Cells, NullableFormula
from ar_models.tables.formulas.numbers import NUMERIC, from_numbers


@dataclass(frozen=True)
class PrefixFormula(NullableFormula):
    """The first characters of a text; where the column is numeric, read as a number.

    Attributes:
        column: Name of the column of texts.
        length: Number of characters.
    """

    column: str
    length: int

    kind: ClassVar[str] = "prefix"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        array, plain = arrow.flat(cells[self.column]), arrow.plain(type)
        if arrow.family(array.type) != "text":
            return pa.nulls(len(array), plain)
        texts = array.cast(arrow.plain(array.type)).cast(pa.large_string())
        found = pc.utf8_slice_codeunits(texts, 0, self.length)
        if arrow.family(type) == "text":
            return found.cast(plain)
        if arrow.family(type) not in NUMERIC:
            return pa.nulls(len(array), plain)
        digits = pc.match_substring_regex(found, r"^-?\d{1,15}$")
        whole = pc.if_else(digits, found, pa.scalar(None, found.type))
        numbers = whole.cast(pa.float64()).to_numpy(zero_copy_only=False)
        return from_numbers(numbers, plain)

    def describe(self) -> str:
        characters = "character" if self.length == 1 else "characters"
        return f"first {self.length} {characters} of {self.column}"
