"""Sums, products, ratios and exponentials of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from ar_models.tables.formulas.choices import Rounding
from ar_models.tables.formulas.formula import Cells, NullableFormula, matches
from ar_models.tables.formulas.keys import Key, places
from ar_models.tables.formulas.numbers import (
    from_numbers,
    number_text,
    numbers,
    round_to,
    sum_text,
)

Terms = tuple[tuple[str, float], ...]
"""Columns with their coefficients."""


def distinct(*names: str) -> tuple[str, ...]:
    """Return names without repetitions, in the order of their first occurrence."""
    return tuple(dict.fromkeys(names))


def weighted_sum(terms: Sequence[tuple[str, float]], cells: Cells) -> np.ndarray:
    """Compute a linear combination of columns, (n,); NaN where one is missing."""
    total = np.zeros(len(next(iter(cells.values()))))
    for name, coefficient in terms:
        total = total + coefficient * numbers(cells[name])
    return total


@dataclass(frozen=True)
class LinearFormula(NullableFormula):
    """A linear combination of columns plus constants, rounded to a grid.

    Attributes:
        terms: Columns and their coefficients.
        constant: Constant that is added.
        products: Products of columns and their coefficients.
        category: Column whose value selects a further constant; None: there is none.
        category_constants: Keys of that column (see `keys`) and their constants; the
            formula is undefined for other values.
        decimals: Decimal places that values are rounded to; None: not rounded.
        rounding: How they are rounded.
    """

    terms: Terms
    constant: float = 0.0
    category: str | None = None
    category_constants: tuple[tuple[Key, float], ...] = ()
    decimals: int | None = None
    rounding: Rounding = "half_up"
    products: tuple[tuple[tuple[str, ...], float], ...] = ()

    kind: ClassVar[str] = "linear"

    @property
    def columns(self) -> tuple[str, ...]:
        names = [name for name, _ in self.terms]
        names += [name for product, _ in self.products for name in product]
        return distinct(*names, *([self.category] if self.category else []))

    @property
    def invertible_columns(self) -> tuple[str, ...]:
        multiplied = {name for product, _ in self.products for name in product}
        return tuple(n for n, c in self.terms if abs(c) == 1 and n not in multiplied)

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        own = {name: cells[name] for name in self.columns}
        values = weighted_sum(self.terms, own) + self._products(own)
        values = values + self._constants(own)
        return from_numbers(round_to(values, self.decimals, self.rounding), type)

    def _products(self, cells: Cells) -> np.ndarray | float:
        """Return the sum of the products in each row, (n,); 0 if there are none."""
        total: np.ndarray | float = 0.0
        for product, coefficient in self.products:
            value: np.ndarray | float = coefficient
            for name in product:
                value = value * numbers(cells[name])
            total = total + value
        return total

    def _constants(self, cells: Cells) -> np.ndarray | float:
        """Return the constant of each row, (n,); NaN where its category has none."""
        if self.category is None:
            return self.constant
        at = places(cells[self.category], [key for key, _ in self.category_constants])
        known = np.array([c for _, c in self.category_constants] + [np.nan])
        each: np.ndarray = self.constant + known[at]
        return each

    def solve(
        self, column: str, type: pa.DataType, cells: Cells, derived: pa.Array
    ) -> pa.Array:
        coefficient = dict(self.terms)[column]
        rest = tuple(term for term in self.terms if term[0] != column)
        own = {name: cells[name] for name in self.columns if name != column}
        known = weighted_sum(rest, {**own, "": derived}) + self._products(own)
        known = known + self._constants(own)
        values = (numbers(derived) - known) / coefficient
        found = from_numbers(round_to(values, self.decimals, "half_up"), type)
        again = self.evaluate({**own, column: found}, derived.type)
        wrong = ~matches(self, again, derived)
        return pa.array(found.to_numpy(zero_copy_only=False), found.type, mask=wrong)

    def describe(self) -> str:
        products = [(" * ".join(product), c) for product, c in self.products]
        text = sum_text([*products, *self.terms], self.constant)
        return text + (f" + constant of {self.category}" if self.category else "")


@dataclass(frozen=True)
class Factor:
    """A power of a linear combination of columns.

    Attributes:
        terms: Columns and their coefficients.
        power: The exponent, such as -1 for a divisor.
        constant: Constant that is added to the combination.
    """

    terms: Terms
    power: float = 1.0
    constant: float = 0.0

    def multiply(self, values: np.ndarray, cells: Cells) -> np.ndarray:
        """Multiply numbers (n,) by the power; NaN where it is undefined."""
        base = weighted_sum(self.terms, cells) + self.constant
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            power = base ** abs(self.power)
            found = values * power if self.power > 0 else values / power
        return np.where(np.isfinite(found), found, np.nan)

    def describe(self) -> str:
        """Return the base and the absolute value of the power as text."""
        text = sum_text(self.terms, self.constant)
        simple = len(self.terms) == 1 and self.terms[0][1] == 1 and not self.constant
        text = text if simple else f"({text})"
        size = abs(self.power)
        return text if size == 1 else f"{text} ** {number_text(size)}"


@dataclass(frozen=True)
class ProductFormula(NullableFormula):
    """A constant times powers of linear combinations: products, ratios, percentages.

    Attributes:
        factors: The powers, of which negative ones are divisors.
        constant: The constant.
        decimals: Decimal places that values are rounded to; None: not rounded.
        rounding: How they are rounded.
    """

    factors: tuple[Factor, ...]
    constant: float = 1.0
    decimals: int | None = None
    rounding: Rounding = "half_up"

    kind: ClassVar[str] = "product"

    @property
    def columns(self) -> tuple[str, ...]:
        return distinct(*(name for factor in self.factors for name, _ in factor.terms))

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        own = {name: cells[name] for name in self.columns}
        values = np.full(len(next(iter(own.values()))), self.constant)
        with np.errstate(over="ignore"):
            for factor in self.factors:
                # Rounding errors are those of a division, as in other programs.
                values = factor.multiply(values, own)
        return from_numbers(round_to(values, self.decimals, self.rounding), type)

    def describe(self) -> str:
        above = [factor.describe() for factor in self.factors if factor.power > 0]
        below = [factor.describe() for factor in self.factors if factor.power < 0]
        if self.constant != 1 or not above:
            above = [number_text(self.constant), *above]
        text = " * ".join(above)
        if len(below) > 1:
            return f"{text} / ({' * '.join(below)})"
        return f"{text} / {below[0]}" if below else text


@dataclass(frozen=True)
class ExponentialFormula(NullableFormula):
    """A constant times the exponential of a linear combination of columns.

    Attributes:
        terms: Columns and their coefficients in the exponent.
        constant: The constant.
        decimals: Decimal places that values are rounded to; None: not rounded.
        rounding: How they are rounded.
    """

    terms: Terms
    constant: float = 1.0
    decimals: int | None = None
    rounding: Rounding = "half_up"

    kind: ClassVar[str] = "exponential"

    @property
    def columns(self) -> tuple[str, ...]:
        return distinct(*(name for name, _ in self.terms))

    def evaluate(self, cells: Cells, type: pa.DataType) -> pa.Array:
        own = {name: cells[name] for name in self.columns}
        with np.errstate(over="ignore"):
            values = self.constant * np.exp(weighted_sum(self.terms, own))
        return from_numbers(round_to(values, self.decimals, self.rounding), type)

    def describe(self) -> str:
        scale = "" if self.constant == 1 else f"{number_text(self.constant)} * "
        return f"{scale}exp({sum_text(self.terms, 0)})"
