"""Instalments of loans, from their amount, interest rate and number of payments."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ar_models.tables import arrow
from ar_models.tables.formulas.arithmetic import distinct
from ar_models.tables.formulas.choices import Rounding
from ar_models.tables.formulas.formula import Cells, NullableFormula
from ar_models.tables.formulas.numbers import (
    from_numbers,
    number_text,
    numbers,
    round_to,
)


@dataclass(frozen=True)
class AnnuityFormula(NullableFormula):
    """The constant instalment that pays back an amount with interest.

    With the interest i = rate / divisor of a period, n payments of
    amount * i / (1 - (1 + i) ** -n) are due; without interest amount / n.

    Attributes:
        amount: Column of amounts.
        rate: Column of interest rates.
        divisor: What rates are divided by, such as 1200 for yearly percentages.
        term: Column of terms: numbers, or texts that hold one, such as `36 months`.
        payments: Number of payments in a unit of the term, such as 12 of a year.
        decimals: Decimal places that values are rounded to; None: not rounded.
        rounding: How they are rounded.
    """

    amount: str
    rate: str
    divisor: float
    term: str
    payments: float = 1.0
    decimals: int | None = None
    rounding: Rounding = "half_up"

    kind: ClassVar[str] = "annuity"

    @property
    def columns(self) -> tuple[str, ...]:
        return distinct(self.amount, self.rate, self.term)

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        amount = numbers(cells[self.amount])
        interest = numbers(cells[self.rate]) / self.divisor
        count = terms(cells[self.term]) * self.payments
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            share = interest / (1 - (1 + interest) ** -count)
            share = np.where(interest == 0, 1 / count, share)
            values = np.where(count > 0, amount * share, np.nan)
        return from_numbers(round_to(values, self.decimals, self.rounding), type)

    def describe(self) -> str:
        interest = f"{self.rate} / {number_text(self.divisor)}"
        count = self.term
        if self.payments != 1:
            count = f"{number_text(self.payments)} * {count}"
        return f"annuity of {self.amount} at {interest} over {count} payments"


def terms(array: pa.Array) -> np.ndarray:
    """Convert cells to the numbers that they are or, if texts, hold first, (n,)."""
    array = arrow.flat(array)
    if arrow.family(array.type) not in ("text", "bytes"):
        return numbers(array)
    words = arrow.words(array)
    assert words.words is not None
    if arrow.family(array.type) == "bytes" or not len(words.words):
        return np.full(len(array), np.nan)
    found = pc.extract_regex(words.words, r"^\D{0,40}(?P<number>\d{1,9})")
    known = numbers(pc.struct_field(found, "number").cast(pa.float64()))
    values = known[words.values]
    return values if words.missing is None else np.where(words.missing, np.nan, values)
